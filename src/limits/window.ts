import { DAY_MS, DAY_SLOT_MS } from "../bounds.ts";

/**
 * Tokens spent in the last 24 hours, in slots of five minutes. Exact up to one slot and never in the tenant's
 * favour: a slot counts until it is older than the day plus its own width, so every interval of 24 hours stays
 * within the limit (I3). A counter interpolated between two windows would be smaller but is only approximate.
 */
export interface DayWindow {
  /** Index of the slot that is being filled: floor(time / DAY_SLOT_MS). */
  readonly slot: number;
  readonly slotTokens: number;
  /** Earlier slots that still count, oldest first, none empty. */
  readonly older: readonly DaySlot[];
  /** Their sum. */
  readonly olderTokens: number;
}

export interface DaySlot {
  readonly slot: number;
  readonly tokens: number;
}

const SLOTS_PER_DAY = DAY_MS / DAY_SLOT_MS;

export function slotAt(nowMs: number): number {
  return Math.floor(nowMs / DAY_SLOT_MS);
}

export function emptyWindow(nowMs: number): DayWindow {
  return { slot: slotAt(nowMs), slotTokens: 0, older: [], olderTokens: 0 };
}

/** The window at `nowMs`. The same object comes back while the slot stays the same. */
export function roll(window: DayWindow, nowMs: number): DayWindow {
  const slot = slotAt(nowMs);
  if (slot <= window.slot) return window;
  const oldest = slot - SLOTS_PER_DAY;
  const all =
    window.slotTokens > 0
      ? [...window.older, { slot: window.slot, tokens: window.slotTokens }]
      : window.older;
  const older = all.filter((entry) => entry.slot >= oldest);
  return { slot, slotTokens: 0, older, olderTokens: older.reduce((sum, entry) => sum + entry.tokens, 0) };
}

export function spentTokens(window: DayWindow): number {
  return window.olderTokens + window.slotTokens;
}

export function spend(window: DayWindow, tokens: number): DayWindow {
  return { ...window, slotTokens: window.slotTokens + tokens };
}

/** Milliseconds until enough old slots have left for `tokens` more to fit under `limitTokens`. */
export function windowWaitMs(
  window: DayWindow,
  heldTokens: number,
  limitTokens: number,
  tokens: number,
  nowMs: number,
): number {
  let excess = spentTokens(window) + heldTokens + tokens - limitTokens;
  if (excess <= 0) return 0;
  for (const entry of [...window.older, { slot: window.slot, tokens: window.slotTokens }]) {
    excess -= entry.tokens;
    if (excess <= 0) return (entry.slot + SLOTS_PER_DAY + 1) * DAY_SLOT_MS - nowMs;
  }
  return DAY_MS;
}
