import { KINDS, type Kind, PLACES } from "./clients.ts";
import type { Lateness } from "./late-reports.ts";

/** One tenant under attack. */
export interface Target {
  readonly name: string;
  readonly overdraft: "stop" | "debt";
  readonly limits: { readonly tokensPerMinute: number } & Readonly<Record<string, number>>;
  readonly places: readonly string[];
  readonly clientsPerPlace: number;
  readonly kinds: readonly Kind[];
  readonly leaveShare: number;
  /** Of what the limit allows, at least this much is to be emitted: a hard limit must not be a low one. */
  readonly usedMin: number;
}

export interface Round {
  readonly seconds: number;
  readonly targets: readonly Target[];
  /** About how often the edge dies, and with it all objects and isolates. */
  readonly killEveryMs: number | null;
  readonly lateness: Lateness;
  /** How long reservations may stay open afterwards. */
  readonly settledWithinMs: number;
  /** Clients leave what still runs when the time is over; else they wait for its end. */
  readonly leaveAtEnd?: boolean;
}

const SETTLED_WITHIN_MS = 10_000;
/** An edge that dies before a gate has the request leaves its first step held for 90 s. */
const SETTLED_AFTER_DEATH_MS = 100_000;

const LIMITS = { tokensPerMinute: 24_000, requestsPerMinute: 3_000, concurrentRequests: 100 };
export const IN_TIME: Lateness = { delayMaxMs: 0, lostShare: 0 };
const { shortStream, longStream, shortJson, longJson, wholeJson, choices } = KINDS;
const MIXED = [shortStream, longStream, shortJson, longJson];
const ONE = PLACES.slice(0, 1);

type More = Partial<Omit<Target, "name" | "overdraft">>;
export const bothPolicies = (name: string, more: More): Target[] =>
  (["stop", "debt"] as const).map((overdraft) => ({
    ...{
      name,
      overdraft,
      limits: LIMITS,
      places: ONE,
      clientsPerPlace: 30,
      kinds: MIXED,
      leaveShare: 0,
      usedMin: 0,
    },
    ...more,
  }));

/** What `npm run attack` does, one after the other. */
export const ROUNDS: Readonly<Record<string, Round>> = {
  greed: {
    seconds: 120,
    killEveryMs: null,
    lateness: IN_TIME,
    settledWithinMs: SETTLED_WITHIN_MS,
    targets: [
      ...bothPolicies("one place", { usedMin: 0.95 }),
      ...bothPolicies("nine places", { places: PLACES, clientsPerPlace: 4, usedMin: 0.85 }),
    ],
  },
  faults: {
    seconds: 60,
    killEveryMs: 15_000,
    lateness: { delayMaxMs: 2_000, lostShare: 0.2 },
    settledWithinMs: SETTLED_AFTER_DEATH_MS,
    targets: bothPolicies("edge dies, late reports", { places: PLACES, clientsPerPlace: 4, leaveShare: 0.1 }),
  },
  uncounted: {
    seconds: 40,
    killEveryMs: null,
    lateness: IN_TIME,
    settledWithinMs: SETTLED_WITHIN_MS,
    targets: bothPolicies("one JSON, uncounted", { kinds: [wholeJson, choices] }),
  },
};

/** A stream's pace at the attack's engines, at most. */
const PACE_TOKENS_PER_SECOND = 50;

/**
 * The overrun that docs/budgets.md promises, in tokens. `stop`: what streams use until word of it has come and gone; an
 * answer that is counted only at its end has none. `debt`: the rest of what runs.
 */
export function overrunMax({ overdraft, kinds }: Target, { lateness }: Round, running: number): number {
  const longest = Math.max(...kinds.map(({ outputTokens, body }) => outputTokens * Number(body.n ?? 1)));
  if (overdraft === "debt") return running * longest;
  return Math.ceil((running * PACE_TOKENS_PER_SECOND * (1_000 + 2 * lateness.delayMaxMs)) / 1_000);
}
