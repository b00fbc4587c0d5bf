import { PROTOCOL, type Protocol } from "./protocol.ts";
import { type Schedule, scheduleOf } from "./schedule.ts";
import { playSchedule } from "./world.ts";

export interface Failure {
  readonly schedule: Schedule;
  readonly error: Error;
}

/** Plays one schedule; null when nothing broke. */
export function failureOf(schedule: Schedule, protocol: Protocol = PROTOCOL): Failure | null {
  try {
    playSchedule(schedule, protocol);
    return null;
  } catch (error) {
    return { schedule, error: error as Error };
  }
}

/** The smallest seed from `first` on whose schedule breaks something, or null. */
export function firstFailure(
  first: number,
  count: number,
  protocol: Protocol = PROTOCOL,
  played: (seed: number) => void = () => undefined,
): Failure | null {
  for (let seed = first; seed < first + count; seed += 1) {
    const failure = failureOf(scheduleOf(seed), protocol);
    if (failure) return failure;
    played(seed);
  }
  return null;
}

/** Leaves out actions as long as it still fails. Returns the positions that are needed, and how it fails then. */
export function shrunk(failure: Failure, protocol: Protocol = PROTOCOL): { keep: number[]; error: Error } {
  const { seed, actions } = failure.schedule;
  let keep = actions.map((_, index) => index);
  let { error } = failure;
  for (let again = true; again; ) {
    again = false;
    for (const index of keep) {
      const fewer = keep.filter((one) => one !== index);
      const still = failureOf({ seed, actions: fewer.map((one) => actions[one]!) }, protocol);
      if (!still) continue;
      keep = fewer;
      error = still.error;
      again = true;
      break;
    }
  }
  return { keep, error };
}
