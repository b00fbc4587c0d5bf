import { EVEN_WEIGHTS } from "../../src/catalogue.ts";
import { PROTOCOL, type Protocol } from "./protocol.ts";
import type { Load, Setting } from "./schedule.ts";
import { World } from "./world.ts";

/** Worlds in which nothing goes wrong, under a load that stays the same: what budgets are measured in. */
export interface Calm {
  readonly seed: number;
  readonly tokensPerMinute: number;
  /** Locations other than the home's. */
  readonly holders: number;
  readonly crashPerMille?: number;
  readonly protocol?: Protocol;
}

export function calmWorld({ crashPerMille = 0, holders, protocol, seed, tokensPerMinute }: Calm): World {
  const places = Array.from({ length: holders + 1 });
  const setting: Setting = {
    holders,
    shards: 1,
    limits: { tokensPerMinute },
    keyLimits: {},
    endUserLimits: {},
    overdraft: "debt",
    softAllowanceTokens: 0,
    weights: EVEN_WEIGHTS,
    blocks: null,
    racePerMille: 0,
    breakPerMille: 0,
    net: { lossPerMille: 0, duplicatePerMille: 0, slowPerMille: 0, delayMaxMs: 0 },
    driftPerMille: places.map(() => 0),
    offsetMs: places.map(() => 1_800_000_000_000),
    crashPerMille,
  };
  return new World(seed, setting, protocol ?? PROTOCOL);
}

/** Requests at these places, `perSecond` in all, each at a random instant: as irregular as independent clients are. */
export function steady(
  world: World,
  places: readonly number[],
  load: Load,
  perSecond: number,
  seconds: number,
): void {
  for (let count = perSecond * seconds; count >= 1; count -= 1) {
    const place = world.random.pick(places);
    const atMs = world.random.int(0, seconds * 1_000);
    world.events.after(atMs, () => world.load(place, { ...load, requests: 1 }));
  }
}

export interface Saturation extends Omit<Calm, "holders"> {
  /** Where requests come from. */
  readonly places: readonly number[];
  readonly stream: Load;
  /** What is asked for, as a multiple of the rate. */
  readonly excess: number;
  readonly warmUpSeconds: number;
  readonly measuredSeconds: number;
}

/**
 * What a tenant gets of its rate that asks for more, and how much of it is overrun; after a warm-up, since admission and debt
 * take turns with the length of a stream.
 */
export function saturated(saturation: Saturation): { used: number; overrun: number } {
  const { excess, measuredSeconds, places, stream, tokensPerMinute, warmUpSeconds } = saturation;
  const world = calmWorld({ ...saturation, holders: Math.max(1, ...places) });
  const perSecond = (excess * tokensPerMinute) / 60 / (stream.promptTokens + stream.outputTokens);
  steady(world, places, stream, perSecond, warmUpSeconds + measuredSeconds);
  world.run(warmUpSeconds * 1_000);
  const { madeTokens, overrunTokens } = world.ghost;
  world.run(measuredSeconds * 1_000);
  const made = world.ghost.madeTokens - madeTokens;
  const used = made / ((tokensPerMinute * measuredSeconds) / 60);
  return { used, overrun: (world.ghost.overrunTokens - overrunTokens) / made };
}
