import type { LocationHint } from "../catalogue.ts";
import { COLOS, COUNTRIES } from "./places.ts";

/** Degrees, north and east positive. */
export interface Position {
  readonly latitude: number;
  readonly longitude: number;
}

/**
 * What a request tells of where its client is (`request.cf`). Any field may be missing or nonsense: only `colo` is always
 * there, coordinates come as text, and `country` has values that are none (`T1` for Tor, `XX`).
 */
export interface ClientGeo {
  readonly latitude?: unknown;
  readonly longitude?: unknown;
  readonly country?: unknown;
  readonly continent?: unknown;
  /** The airport code of the data centre that the client reached. */
  readonly colo?: unknown;
}

/** What a position was taken from, the most exact first. */
export const POSITION_SOURCES = ["coordinates", "country", "continent", "colo", "default"] as const;
export type PositionSource = (typeof POSITION_SOURCES)[number];

export interface Located extends Position {
  readonly source: PositionSource;
}

/** Rough centres of population, for clients of whom only the continent is known. */
const CONTINENTS = new Map<string, Position>(
  Object.entries({
    NA: { latitude: 39, longitude: -92 },
    SA: { latitude: -16, longitude: -55 },
    EU: { latitude: 50, longitude: 10 },
    AF: { latitude: 4, longitude: 20 },
    AS: { latitude: 26, longitude: 95 },
    OC: { latitude: -31, longitude: 145 },
    AN: { latitude: -78, longitude: 0 },
  }),
);

/** Where each hint's objects are expected to run; what is measured counts more (some hints do not spawn there). */
const HINT_POSITIONS: Record<LocationHint, Position> = {
  wnam: { latitude: 37.4, longitude: -121.9 },
  enam: { latitude: 39, longitude: -77.5 },
  sam: { latitude: -23.5, longitude: -46.6 },
  weur: { latitude: 51, longitude: 2 },
  eeur: { latitude: 50.1, longitude: 20 },
  apac: { latitude: 19, longitude: 85 },
  "apac-ne": { latitude: 35.6, longitude: 139.7 },
  "apac-se": { latitude: 1.3, longitude: 103.8 },
  oc: { latitude: -33.8, longitude: 151.2 },
  afr: { latitude: -26.2, longitude: 28 },
  me: { latitude: 25.2, longitude: 55.3 },
};

/** Of somebody of whom nothing is known. */
export const DEFAULT_POSITION: Position = CONTINENTS.get("NA")!;

/**
 * Where a client is: by coordinates, else country, continent, data centre, else the default. Total: whatever comes in, a
 * valid position comes out, and with it what it was taken from.
 */
export function positionOf(geo: ClientGeo): Located {
  const latitude = degrees(geo.latitude, 90);
  const longitude = degrees(geo.longitude, 180);
  if (latitude !== null && longitude !== null) return { latitude, longitude, source: "coordinates" };
  const country = placeOf(COUNTRIES, geo.country);
  if (country) return { ...country, source: "country" };
  const continent = placeOf(CONTINENTS, geo.continent);
  if (continent) return { ...continent, source: "continent" };
  const colo = placeOf(COLOS, geo.colo);
  if (colo) return { ...colo, source: "colo" };
  return { ...DEFAULT_POSITION, source: "default" };
}

/** A plain decimal number. `parseFloat` would take the front of anything, `Number` an empty text for 0. */
function degrees(value: unknown, most: number): number | null {
  if (typeof value !== "string" || !/^-?\d{1,3}(\.\d{1,20})?$/.test(value)) return null;
  const number = Number(value);
  return Math.abs(number) <= most ? number : null;
}

function placeOf(places: ReadonlyMap<string, Position>, code: unknown): Position | undefined {
  return typeof code === "string" ? places.get(code) : undefined;
}

/** `<continent>/<latitude>/<longitude>` as in the development header; null when it is not of that form. */
export function parseDevLocation(text: string): ClientGeo | null {
  const match = /^([A-Z]{2})\/(-?\d{1,2}(?:\.\d+)?)\/(-?\d{1,3}(?:\.\d+)?)$/.exec(text);
  return match ? { continent: match[1]!, latitude: match[2]!, longitude: match[3]! } : null;
}

const EARTH_RADIUS_KM = 6_371;

/** Great-circle distance by the haversine formula. */
export function distanceKm(from: Position, to: Position): number {
  const radians = Math.PI / 180;
  const halfLatitude = Math.sin(((to.latitude - from.latitude) * radians) / 2);
  const halfLongitude = Math.sin(((to.longitude - from.longitude) * radians) / 2);
  const chord =
    halfLatitude ** 2 +
    Math.cos(from.latitude * radians) * Math.cos(to.latitude * radians) * halfLongitude ** 2;
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.min(1, Math.sqrt(chord)));
}

/**
 * Round trip expected over a distance: light in fibre covers 200 km per millisecond, there and back, on paths
 * about half as long again as the great circle, plus a few milliseconds of equipment. What is measured corrects
 * it (rtt.ts).
 */
export function expectedRttMs(distance: number): number {
  return 4 + (distance * 2 * 1.5) / FIBRE_KM_PER_MS;
}

const FIBRE_KM_PER_MS = 200;

/** No round trip over a distance is shorter: light in a straight fibre. */
export function leastRttMs(distance: number): number {
  return (distance * 2) / FIBRE_KM_PER_MS;
}

/** The hint whose objects are nearest. */
export function nearestHint(position: Position): LocationHint {
  let nearest: LocationHint = "enam";
  let nearestKm = Infinity;
  for (const [hint, at] of Object.entries(HINT_POSITIONS) as [LocationHint, Position][]) {
    const km = distanceKm(position, at);
    if (km < nearestKm) [nearest, nearestKm] = [hint, km];
  }
  return nearest;
}
