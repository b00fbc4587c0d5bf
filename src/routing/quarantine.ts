import {
  QUARANTINE_BYSTANDERS_MAX,
  QUARANTINE_HELD_MAX,
  QUARANTINE_MAX_MS,
  QUARANTINE_MIN_MS,
  QUARANTINE_REMEMBER_MS,
  QUARANTINE_SUSPECTS_MAX,
  QUARANTINE_WIDESPREAD_MS,
  QUARANTINE_WIDESPREAD_REPLICAS,
  QUARANTINE_WINDOW_MS,
} from "../bounds.ts";
import type { Death } from "./messages.ts";

/**
 * Requests that may be why engines die, by their fingerprints. No clock, no I/O.
 *
 * The rule: a fingerprint is held when it was present at two deaths within the window, and of those that were present at
 * both it is one of a few; where more were, it must be one of a few that had no token at either, since what kills an
 * engine mostly does so in its first step there. Deaths of several replicas of one pool within seconds are an event of
 * the place, and count for nobody but whoever was present at as many of them: a stream is at one replica at a time.
 * Whoever completes after a death is cleared of it.
 */
export interface QuarantineState {
  readonly deaths: readonly Omit<Death, "present">[];
  readonly suspects: { readonly [fingerprint: string]: Suspect };
}

interface Seen {
  readonly death: string;
  readonly atMs: number;
  readonly begun: boolean;
}

export interface Suspect {
  readonly seen: readonly Seen[];
  /** Times that it was held. */
  readonly offences: number;
  readonly heldSinceMs: number;
  /** 0: never held. */
  readonly heldUntilMs: number;
}

export const NOBODY: QuarantineState = { deaths: [], suspects: {} };

const UNKNOWN: Suspect = { seen: [], offences: 0, heldSinceMs: 0, heldUntilMs: 0 };

export interface Judged {
  readonly state: QuarantineState;
  /** Held by these deaths. */
  readonly held: readonly string[];
  /** Let go again: what they were held for turned out to be an event of the place. */
  readonly retracted: readonly string[];
}

/** Takes deaths into account, each once. */
export function died(state: QuarantineState, deaths: readonly Death[], nowMs: number): Judged {
  const known = new Set(state.deaths.map(({ id }) => id));
  const fresh = deaths.filter(({ id }, index) => {
    return !known.has(id) && deaths.findIndex((other) => other.id === id) === index;
  });
  const all = [...state.deaths, ...fresh.map(({ present: _present, ...death }) => death)].filter(
    ({ atMs }) => nowMs - atMs <= QUARANTINE_WINDOW_MS,
  );
  const suspects = new Map(Object.entries(state.suspects));
  for (const death of fresh) {
    for (const { fingerprint, begun } of death.present) {
      const suspect = suspects.get(fingerprint) ?? UNKNOWN;
      if (suspect.seen.some((seen) => seen.death === death.id)) continue;
      const seen = [...suspect.seen, { death: death.id, atMs: death.atMs, begun }];
      suspects.set(fingerprint, { ...suspect, seen });
    }
  }
  const widespread = widespreadOf(all);
  const retracted = retract(suspects, widespread, nowMs);
  const held = fresh.flatMap((death) => judge(suspects, death, widespread, nowMs));
  return { state: { deaths: all, suspects: kept(suspects, nowMs) }, held, retracted };
}

/** They completed after they were present at a death, so they do not kill. What is held stays held. */
export function cleared(state: QuarantineState, fingerprints: readonly string[]): QuarantineState {
  const suspects = { ...state.suspects };
  for (const fingerprint of fingerprints) {
    const suspect = suspects[fingerprint];
    if (suspect === undefined) continue;
    if (suspect.offences === 0) delete suspects[fingerprint];
    else suspects[fingerprint] = { ...suspect, seen: [] };
  }
  return { ...state, suspects };
}

/** An operator lets it go: nothing of it is remembered. */
export function released(state: QuarantineState, fingerprint: string): QuarantineState {
  const { [fingerprint]: _gone, ...suspects } = state.suspects;
  return { ...state, suspects };
}

export function isHeld({ heldUntilMs }: Suspect, nowMs: number): boolean {
  return heldUntilMs > nowMs;
}

/** Deaths of several replicas of one pool within seconds of each other, by id. */
function widespreadOf(deaths: QuarantineState["deaths"]): ReadonlySet<string> {
  const near = (one: (typeof deaths)[number]) =>
    deaths.filter(
      ({ pool, atMs }) => pool === one.pool && Math.abs(atMs - one.atMs) <= QUARANTINE_WIDESPREAD_MS,
    );
  const isWidespread = (one: (typeof deaths)[number]) =>
    new Set(near(one).map(({ replica }) => replica)).size >= QUARANTINE_WIDESPREAD_REPLICAS;
  return new Set(deaths.filter(isWidespread).map(({ id }) => id));
}

/** Deaths that count for a suspect. */
function countingOf({ seen }: Suspect, widespread: ReadonlySet<string>, nowMs: number): readonly Seen[] {
  const recent = seen.filter(({ atMs }) => nowMs - atMs <= QUARANTINE_WINDOW_MS);
  const own = recent.filter(({ death }) => !widespread.has(death));
  const shared = recent.length - own.length;
  return shared >= QUARANTINE_WIDESPREAD_REPLICAS ? recent : own;
}

function judge(
  suspects: Map<string, Suspect>,
  { present }: Death,
  widespread: ReadonlySet<string>,
  nowMs: number,
): string[] {
  const again = [...new Set(present.map(({ fingerprint }) => fingerprint))].flatMap((fingerprint) => {
    const suspect = suspects.get(fingerprint)!;
    const seen = countingOf(suspect, widespread, nowMs);
    return seen.length < 2 || isHeld(suspect, nowMs) ? [] : [{ fingerprint, suspect, seen }];
  });
  const unbegun = again.filter(({ seen }) => seen.every(({ begun }) => !begun));
  const few = again.length <= QUARANTINE_BYSTANDERS_MAX ? again : unbegun;
  if (few.length > QUARANTINE_BYSTANDERS_MAX) return [];
  for (const { fingerprint, suspect } of few) {
    const forMs = Math.min(QUARANTINE_MAX_MS, QUARANTINE_MIN_MS * 2 ** suspect.offences);
    suspects.set(fingerprint, {
      ...suspect,
      offences: suspect.offences + 1,
      heldSinceMs: nowMs,
      heldUntilMs: nowMs + forMs,
    });
  }
  return few.map(({ fingerprint }) => fingerprint);
}

/** Lets those go that were held for deaths which more deaths have since shown to be an event of the place. */
function retract(suspects: Map<string, Suspect>, widespread: ReadonlySet<string>, nowMs: number): string[] {
  const wrong = [...suspects].filter(
    ([, suspect]) => isHeld(suspect, nowMs) && countingOf(suspect, widespread, nowMs).length < 2,
  );
  // Of a long hold the deaths are forgotten before it ends: that is no proof of innocence.
  const proven = wrong.filter(([, { heldSinceMs }]) => nowMs - heldSinceMs <= QUARANTINE_WIDESPREAD_MS * 2);
  for (const [fingerprint, suspect] of proven) {
    suspects.set(fingerprint, { ...suspect, offences: suspect.offences - 1, heldUntilMs: 0 });
  }
  return proven.map(([fingerprint]) => fingerprint);
}

/** What is worth remembering, within the bounds: what is held, then the newest. */
function kept(suspects: ReadonlyMap<string, Suspect>, nowMs: number): QuarantineState["suspects"] {
  const lastMs = ({ seen, heldUntilMs }: Suspect) =>
    Math.max(heldUntilMs, ...seen.map(({ atMs }) => atMs), 0);
  const alive = [...suspects].flatMap(([fingerprint, suspect]): [string, Suspect][] => {
    const seen = suspect.seen.filter(({ atMs }) => nowMs - atMs <= QUARANTINE_WINDOW_MS);
    const remembered = suspect.offences > 0 && nowMs - suspect.heldUntilMs <= QUARANTINE_REMEMBER_MS;
    return seen.length > 0 || remembered ? [[fingerprint, { ...suspect, seen }]] : [];
  });
  const held = alive.filter(([, suspect]) => isHeld(suspect, nowMs));
  const others = alive.filter(([, suspect]) => !isHeld(suspect, nowMs));
  const newest = (one: [string, Suspect], other: [string, Suspect]) => lastMs(other[1]) - lastMs(one[1]);
  return Object.fromEntries([
    ...held.sort(newest).slice(0, QUARANTINE_HELD_MAX),
    ...others.sort(newest).slice(0, QUARANTINE_SUSPECTS_MAX),
  ]);
}
