import { UNREACHED_MAX, UNREACHED_RETRY_MS } from "../bounds.ts";

/**
 * What could not be reached from this isolate a moment ago, by name, and when the next request may try it. Else every
 * request would wait for the same silence again. Only an answer proves that it is back: that a directory has heard of a
 * pool says nothing of the way from here.
 */
const retryAtMs = new Map<string, number>();

/** All gates of a pool. */
export function gatesOf(pool: string): string {
  return `gates/${pool}`;
}

export function objectOf(pool: string, model: string, cell: number): string {
  return `object/${pool}/${model}/${cell}`;
}

export function missed(name: string, nowMs: number): void {
  if (retryAtMs.size >= UNREACHED_MAX) retryAtMs.clear();
  retryAtMs.set(name, nowMs + UNREACHED_RETRY_MS);
}

export function reached(name: string): void {
  retryAtMs.delete(name);
}

/** Whether it was missed, and it is not time yet to try it again. */
export function isMissed(name: string, nowMs: number): boolean {
  return (retryAtMs.get(name) ?? nowMs) > nowMs;
}

/** Whether it was missed, and nobody has reached it since. */
export function isDoubtful(name: string): boolean {
  return retryAtMs.has(name);
}

/** Whether a request may try it. Of what was missed, whoever is told so is the only one for the next while. */
export function mayTry(name: string, nowMs: number): boolean {
  if (isMissed(name, nowMs)) return false;
  if (isDoubtful(name)) missed(name, nowMs);
  return true;
}
