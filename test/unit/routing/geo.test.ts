import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  DEFAULT_POSITION,
  distanceKm,
  nearestHint,
  parseDevLocation,
  positionOf,
} from "../../../src/routing/geo.ts";

describe("geo", () => {
  it("measures great-circle distances within half a per cent", () => {
    const paris = { latitude: 48.8566, longitude: 2.3522 };
    const tokyo = { latitude: 35.6762, longitude: 139.6503 };
    expect(Math.abs(distanceKm(paris, tokyo) - 9_713) / 9_713).toBeLessThan(0.005);
    expect(distanceKm(paris, paris)).toBe(0);
  });

  it("takes coordinates, else the continent, else the default, and never fails", () => {
    expect(positionOf({ latitude: "35.67", longitude: "139.65", continent: "EU" })).toEqual({
      latitude: 35.67,
      longitude: 139.65,
    });
    expect(positionOf({ latitude: "north", longitude: "1", continent: "EU" }).latitude).toBe(50);
    expect(positionOf({ continent: "XX" })).toEqual(DEFAULT_POSITION);
    const any = fc.option(fc.string());
    fc.assert(
      fc.property(any, any, any, (latitude, longitude, continent) => {
        const position = positionOf({ latitude, longitude, continent });
        expect(Math.abs(position.latitude)).toBeLessThanOrEqual(90);
        expect(Math.abs(position.longitude)).toBeLessThanOrEqual(180);
      }),
    );
  });

  it("sends each part of the world to the objects beside it", () => {
    expect(nearestHint({ latitude: 40.7, longitude: -74 })).toBe("enam");
    expect(nearestHint({ latitude: 37.8, longitude: -122.4 })).toBe("wnam");
    expect(nearestHint({ latitude: 52.5, longitude: 13.4 })).toBe("eeur");
    expect(nearestHint({ latitude: -33.9, longitude: 151.2 })).toBe("oc");
    expect(nearestHint({ latitude: 1.35, longitude: 103.8 })).toBe("apac-se");
  });

  it("reads the development header and nothing that only looks like it", () => {
    expect(parseDevLocation("EU/48.8/2.35")).toEqual({
      continent: "EU",
      latitude: "48.8",
      longitude: "2.35",
    });
    for (const bad of ["", "EU", "EU/1", "eu/1/2", "EU/1/2/3", "EU/x/2", "EU/1/2; x"]) {
      expect(parseDevLocation(bad)).toBeNull();
    }
  });
});
