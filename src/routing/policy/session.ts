import { hashOf } from "../hash.ts";
import type { Policy } from "./policy.ts";
import { predictedTtft } from "./predicted-ttft.ts";

/** A session's replica is kept while it has no more than this much of the mean load, and two at least. */
const LOAD_FACTOR = 1.5;
const LOAD_FLOOR = 2;

/**
 * Each session has its replica by rendezvous hashing (the highest hash of session and replica): when one comes or
 * goes, only its own sessions move. One that is overloaded by the mean, or a request without a session, goes by
 * predicted time to first token.
 */
export const session: Policy = (choices, work) => {
  if (work.session === null) return predictedTtft(choices, work);
  let [home, highest, total] = [0, -1, 0];
  for (let at = 0; at < choices.length; at++) {
    const { id, requests } = choices[at]!;
    total += requests;
    const hash = hashOf(id, work.session);
    if (hash > highest) [home, highest] = [at, hash];
  }
  const { requests, share } = choices[home]!;
  const bound = Math.max(LOAD_FLOOR, Math.ceil((LOAD_FACTOR * (total + 1) * share) / choices.length));
  return requests + 1 <= bound ? home : predictedTtft(choices, work);
};
