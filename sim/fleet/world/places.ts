import type { LocationHint, Model, Pool } from "../../../src/catalogue.ts";
import type { Position } from "../../../src/routing/geo.ts";

/** Three regions with GPUs, and the cities that requests come from. */

export const MODEL: Model = { id: "sim", kind: "generate", version: 1, createdAtMs: 0 };

const REGIONS: readonly { readonly id: string; readonly hint: LocationHint; readonly position: Position }[] =
  [
    { id: "frankfurt", hint: "weur", position: { latitude: 50.1, longitude: 8.7 } },
    { id: "virginia", hint: "enam", position: { latitude: 39, longitude: -77.5 } },
    { id: "tokyo", hint: "apac-ne", position: { latitude: 35.6, longitude: 139.7 } },
  ];
export const REGION_NAMES = REGIONS.map(({ id }) => id);

export function poolOf(id: string, concurrencyPerReplica: number): Pool {
  const { hint, position } = REGIONS.find((region) => region.id === id)!;
  return {
    ...{ id, region: id, hint, position },
    gates: [`https://${id}.example`],
    models: [{ model: MODEL.id, concurrencyPerReplica }],
    drained: false,
    secretVersion: 1,
    version: 1,
    createdAtMs: 0,
  };
}

export interface City {
  readonly name: string;
  readonly position: Position;
  /** Share of all requests that come from here or from a city before it. */
  readonly upTo: number;
}

const CITIES: readonly City[] = [
  { name: "Paris", position: { latitude: 48.9, longitude: 2.3 }, upTo: 0.25 },
  { name: "Warsaw", position: { latitude: 52.2, longitude: 21 }, upTo: 0.4 },
  { name: "New York", position: { latitude: 40.7, longitude: -74 }, upTo: 0.6 },
  { name: "Dallas", position: { latitude: 32.8, longitude: -96.8 }, upTo: 0.7 },
  { name: "Osaka", position: { latitude: 34.7, longitude: 135.5 }, upTo: 0.85 },
  { name: "Singapore", position: { latitude: 1.3, longitude: 103.8 }, upTo: 1 },
];

/** `place` is from 0 to 1, as a call has it. */
export function cityOf(place: number): City {
  return CITIES.find(({ upTo }) => place < upTo) ?? CITIES.at(-1)!;
}
