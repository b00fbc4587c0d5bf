/**
 * A token bucket in exact integers. Levels count units of 1/60,000 token, so that a rate of R tokens per minute
 * accrues exactly R units per millisecond and no rounding ever mints or loses a token. A level below zero is a
 * debt: it is paid before anything else is admitted. (Chosen over GCRA, which enforces the same bound, because
 * refund, hold and debt stay visible integers.)
 */
export const UNITS_PER_TOKEN = 60_000;

/** A bucket holds one minute's worth: its capacity in tokens is its rate per minute. */
export interface Bucket {
  readonly levelUnits: number;
  readonly atMs: number;
}

export function fullBucket(perMinute: number, nowMs: number): Bucket {
  return { levelUnits: perMinute * UNITS_PER_TOKEN, atMs: nowMs };
}

/**
 * The bucket at `nowMs`. What is held by open reservations does not refill: level + held ≤ capacity (I2), so
 * whatever is spent in an interval was in the bucket at its start or has been refilled since. A clock that steps
 * back accrues nothing. When a limit was lowered below what is held, the level falls to zero and not below: what was
 * admitted under the old limit is no debt, there is only no refill until it fits.
 */
export function accrue(bucket: Bucket, perMinute: number, heldTokens: number, nowMs: number): Bucket {
  const { levelUnits } = bucket;
  const elapsedMs = Math.max(0, nowMs - bucket.atMs);
  const ceiling = (perMinute - heldTokens) * UNITS_PER_TOKEN;
  // A minute refills any bucket without debt; the bound keeps the product an exact integer after long idling.
  const missingMs = Math.ceil(Math.max(0, ceiling - levelUnits) / perMinute);
  const refilled = Math.min(levelUnits + perMinute * Math.min(elapsedMs, missingMs), ceiling);
  return {
    levelUnits: levelUnits > ceiling ? Math.min(levelUnits, Math.max(0, ceiling)) : refilled,
    atMs: Math.max(bucket.atMs, nowMs),
  };
}

/** Whole tokens that can be taken now; below zero: debt. */
export function available(bucket: Bucket): number {
  return Math.floor(bucket.levelUnits / UNITS_PER_TOKEN);
}

/** Takes tokens, or gives them back when negative. The caller has accrued the bucket and knows why. */
export function take(bucket: Bucket, tokens: number): Bucket {
  return { levelUnits: bucket.levelUnits - tokens * UNITS_PER_TOKEN, atMs: bucket.atMs };
}

/** Milliseconds of refill until `tokens` can be taken. */
export function waitMs(bucket: Bucket, perMinute: number, tokens: number): number {
  return Math.max(0, Math.ceil((tokens * UNITS_PER_TOKEN - bucket.levelUnits) / perMinute));
}
