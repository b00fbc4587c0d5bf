/**
 * Leases: parts of a home's budget that another location spends without asking. Everything that home and holder tell
 * each other is cumulative: granted, settled and returned only ever grow, so a message that is lost, repeated, late
 * or out of order can at worst leave the home believing that more is outstanding than there is. That wastes a little
 * budget for a moment; it never mints a token (I5).
 *
 *   granted  what the home has taken from its account for this lease; only the home raises it
 *   settled  what was used; only the holder raises it
 *   returned what the holder gave back unspent; only the holder raises it
 *   outstanding = granted − settled − returned, counted by the home as if it were spent
 *
 * All three survive with the holder's rows. A holder whose rows are lost (an object moved to another name) must come
 * back under another name of its own: what the lost one had spent and not told is known to nobody, so its lease stays
 * outstanding until it is written off.
 */
export interface Quantity {
  readonly tokens: number;
  readonly requests: number;
  /** Places among concurrent requests. Never settled, only returned. */
  readonly slots: number;
}

export const NONE: Quantity = { tokens: 0, requests: 0, slots: 0 };

export function plus(one: Quantity, other: Quantity): Quantity {
  return {
    tokens: one.tokens + other.tokens,
    requests: one.requests + other.requests,
    slots: one.slots + other.slots,
  };
}

export function minus(one: Quantity, other: Quantity): Quantity {
  return {
    tokens: one.tokens - other.tokens,
    requests: one.requests - other.requests,
    slots: one.slots - other.slots,
  };
}

/** The larger of each: what a cumulative counter is after a message of unknown age. */
export function furthest(one: Quantity, other: Quantity): Quantity {
  return {
    tokens: Math.max(one.tokens, other.tokens),
    requests: Math.max(one.requests, other.requests),
    slots: Math.max(one.slots, other.slots),
  };
}

/** How fast an account's running streams use tokens, and how much one request uses in the end. In weighted tokens. */
export interface Pace {
  /** All running streams together, by their last reports. */
  readonly tokensPerSecond: number;
  readonly streams: number;
  /** What a request uses from its first token to its last: a moving average. 0: none has ended yet. */
  readonly meanTokens: number;
}

/** What a holder tells the home, and asks of it. */
export interface Renewal {
  /** The holder's place. */
  readonly holder: string;
  readonly scope: string;
  /** The lease that it has, or 0 for none. */
  readonly lease: number;
  /** Grows with every renewal of this holder and scope: what an old one wants is not granted again. */
  readonly sequence: number;
  readonly settled: Quantity;
  readonly returned: Quantity;
  /** What it would like to have outstanding: what running requests hold, and what is to be free for new ones. */
  readonly want: Quantity;
  /** Of the streams that run on it: a gauge, where all else is cumulative. Absent from a holder of a version before. */
  readonly pace?: Pace;
  /** What they hold: the same. */
  readonly heldTokens?: number;
}

/** What the home answers. */
export interface LeaseTerms {
  readonly scope: string;
  readonly lease: number;
  /** The latest renewal that the home has seen: with it, the holder knows whether its last word arrived. */
  readonly sequence: number;
  readonly granted: Quantity;
  /** As the home has heard. A holder that is new to this lease starts from here. */
  readonly settled: Quantity;
  readonly returned: Quantity;
  /** From the instant at which the renewal was sent, on the holder's clock. */
  readonly ttlMs: number;
  /** Others are short: the holder is to give back what it holds free above this. */
  readonly keepTokens: number | null;
  /** The same for places among concurrent requests, but in all: those of running ones are among them. */
  readonly keepSlots: number | null;
  /** What of the rate the holder's streams may count on: a gauge. Null where there is no rate; absent from a home of a version before. */
  readonly ratePerMinute?: number | null;
  /** What a request of this account uses; 0: not known. */
  readonly meanTokens?: number;
}

/** The part of each that is above zero. */
export function positive({ tokens, requests, slots }: Quantity): Quantity {
  return { tokens: Math.max(0, tokens), requests: Math.max(0, requests), slots: Math.max(0, slots) };
}

export function isNone({ tokens, requests, slots }: Quantity): boolean {
  return tokens === 0 && requests === 0 && slots === 0;
}
