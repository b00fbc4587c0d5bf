import type { Sizing } from "../../src/limits/block.ts";
import type { BlockAnswer, BlockAsk, BlockTold } from "../../src/limits/messages.ts";
import type { Protocol } from "./protocol.ts";
import type { Store } from "./store.ts";

/** What home and holder do alike with blocks: first what an isolate tells, then what it asks. */
export function takeBlocks<P extends { readonly scope: string }>(
  store: Store<P>,
  protocol: Protocol,
  ask: BlockAsk | null,
  told: readonly BlockTold[],
  sizing: Sizing,
  nowMs: number,
): { answer: BlockAnswer; deadlineMs: number | null } {
  for (const one of told) store.applyBlock(protocol.closeBlock(store, one, nowMs));
  if (ask === null) return { answer: { ok: false, failure: null }, deadlineMs: null };
  const { answer, change } = protocol.grantBlock(store, ask, nowMs, sizing);
  store.applyBlock(change);
  return { answer, deadlineMs: change?.block.deadlineMs ?? null };
}

export function expireBlocks<P extends { readonly scope: string }>(
  store: Store<P>,
  protocol: Protocol,
  nowMs: number,
): void {
  for (const id of store.dueBlocks(nowMs)) store.applyBlock(protocol.expireBlock(store, id, nowMs));
}
