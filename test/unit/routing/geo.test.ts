import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  DEFAULT_POSITION,
  distanceKm,
  expectedRttMs,
  leastRttMs,
  nearestHint,
  POSITION_SOURCES,
  parseDevLocation,
  positionOf,
} from "../../../src/routing/geo.ts";
import { COLOS, COUNTRIES } from "../../../src/routing/places.ts";

describe("geo", () => {
  it("measures great-circle distances within half a per cent", () => {
    const paris = { latitude: 48.8566, longitude: 2.3522 };
    const tokyo = { latitude: 35.6762, longitude: 139.6503 };
    expect(Math.abs(distanceKm(paris, tokyo) - 9_713) / 9_713).toBeLessThan(0.005);
    expect(distanceKm(paris, paris)).toBe(0);
  });

  it("takes coordinates, else country, continent, data centre, else the default, and says which", () => {
    const all = { latitude: "35.67", longitude: "139.65", country: "DE", continent: "SA", colo: "SYD" };
    const without = (...fields: string[]) =>
      positionOf(Object.fromEntries(Object.entries(all).filter(([field]) => !fields.includes(field))));
    expect(positionOf(all)).toEqual({ latitude: 35.67, longitude: 139.65, source: "coordinates" });
    expect(without("longitude")).toEqual({ latitude: 51, longitude: 9.9, source: "country" });
    expect(without("latitude", "country")).toEqual({ latitude: -16, longitude: -55, source: "continent" });
    expect(without("latitude", "country", "continent")).toEqual({
      ...{ latitude: -33.9, longitude: 151.2, source: "colo" },
    });
    expect(positionOf({})).toEqual({ ...DEFAULT_POSITION, source: "default" });
  });

  it("takes no coordinates that are not plain decimals in range", () => {
    const bad = [
      "",
      " ",
      "north",
      "1e1",
      "0x10",
      "12abc",
      "90.1",
      "-91",
      "NaN",
      "Infinity",
      "1,5",
      12,
      null,
      {},
    ];
    for (const latitude of bad) {
      expect(positionOf({ latitude, longitude: "1", country: "FR" }).source).toBe("country");
    }
    expect(positionOf({ latitude: "-90", longitude: "180" }).source).toBe("coordinates");
    expect(positionOf({ latitude: "0", longitude: "-0.5" })).toMatchObject({ latitude: 0, longitude: -0.5 });
  });

  it("passes over countries and continents that are none", () => {
    for (const country of ["T1", "XX", "ZZ", "de", "__proto__", "constructor", 7]) {
      expect(positionOf({ country, continent: "EU" }).source).toBe("continent");
      expect(positionOf({ country, continent: country }).source).toBe("default");
    }
  });

  it("gives a valid position and a source for whatever comes in", () => {
    const codes = [...COUNTRIES.keys(), ...COLOS.keys(), "EU", "AN", "T1"];
    const field = fc.oneof(fc.anything(), fc.double().map(String), fc.constantFrom(...codes));
    const geo = fc.record(
      { latitude: field, longitude: field, country: field, continent: field, colo: field },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(geo, (asked) => {
        const { latitude, longitude, source } = positionOf(asked);
        expect(Math.abs(latitude)).toBeLessThanOrEqual(90);
        expect(Math.abs(longitude)).toBeLessThanOrEqual(180);
        expect(POSITION_SOURCES).toContain(source);
        expect(Number.isFinite(expectedRttMs(distanceKm({ latitude, longitude }, DEFAULT_POSITION)))).toBe(
          true,
        );
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

describe("places", () => {
  /** ISO 3166-1 alpha-2, all 249, in order. */
  const ISO =
    `AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY
    BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR
    GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP
    KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT
    MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW
    SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG
    UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW`.split(/\s+/);

  it("has every country of ISO 3166-1, and Kosovo", () => {
    expect(ISO).toHaveLength(249);
    expect([...COUNTRIES.keys()].sort()).toEqual([...ISO, "XK"].sort());
  });

  /** Two tables that were made apart: a sign or a digit that is wrong in one shows against the other. */
  it("puts data centres near the people of their countries", () => {
    const home: Record<string, string> = {
      ...{
        AMS: "NL",
        ARN: "SE",
        ATH: "GR",
        BKK: "TH",
        BOG: "CO",
        BRU: "BE",
        BUD: "HU",
        CDG: "FR",
        CMB: "LK",
        CPH: "DK",
      },
      ...{
        DAC: "BD",
        DKR: "SN",
        DOH: "QA",
        DUB: "IE",
        EZE: "AR",
        FRA: "DE",
        GRU: "BR",
        GVA: "CH",
        HAN: "VN",
        HEL: "FI",
      },
      ...{
        HKG: "HK",
        ICN: "KR",
        IST: "TR",
        JNB: "ZA",
        KBP: "UA",
        KEF: "IS",
        KTM: "NP",
        KUL: "MY",
        LHR: "GB",
        LIM: "PE",
      },
      ...{
        LIS: "PT",
        LOS: "NG",
        MAD: "ES",
        MEX: "MX",
        MNL: "PH",
        NBO: "KE",
        NRT: "JP",
        OSL: "NO",
        OTP: "RO",
        PRG: "CZ",
      },
      ...{
        PTY: "PA",
        RUH: "SA",
        SCL: "CL",
        SIN: "SG",
        SYD: "AU",
        TLV: "IL",
        TPE: "TW",
        VIE: "AT",
        WAW: "PL",
        AKL: "NZ",
      },
    };
    for (const [colo, country] of Object.entries(home)) {
      const km = distanceKm(COLOS.get(colo)!, COUNTRIES.get(country)!);
      expect([colo, country, km < 800]).toEqual([colo, country, true]);
    }
  });

  it("expects of a way no less than light needs", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 20_100, noNaN: true }), (km) => {
        expect(leastRttMs(km)).toBeLessThan(expectedRttMs(km));
      }),
    );
    expect([expectedRttMs(0), expectedRttMs(1_000), leastRttMs(1_000)]).toEqual([4, 19, 10]);
  });
});
