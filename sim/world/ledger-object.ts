import type { Sizing } from "../../src/limits/block.ts";
import type { BlockAnswer, BlockAsk, BlockClaim, BlockTold } from "../../src/limits/messages.ts";
import { SimObject } from "./object.ts";
import type { Protocol } from "./protocol.ts";

/** One tenant's ledger in one place: what a home and a lease holder do alike, as production's `LedgerShell`. */
export abstract class LedgerObject<P extends { readonly scope: string }> extends SimObject<P> {
  /** The functions under test. */
  protocol!: Protocol;

  end(how: "finish" | "cancel", requestId: string, claim?: BlockClaim): void {
    this.step((nowMs) => {
      this.store.apply(this.protocol[how](this.store, requestId, nowMs, claim));
      if (how === "cancel") this.store.words.push({ id: requestId, says: how });
    });
  }

  race(
    requestId: string,
    attempts: readonly number[],
    claim: BlockClaim | undefined,
    reply: (may: boolean) => void,
  ): void {
    this.step((nowMs) => {
      const change = this.protocol.race(this.store, requestId, attempts, nowMs, claim);
      this.store.apply(change);
      this.afterwards(() => reply(change !== null));
    });
  }

  elect(requestId: string, winner: number, reply: () => void): void {
    this.step((nowMs) => {
      this.store.apply(this.protocol.elect(this.store, requestId, winner, nowMs));
      this.store.words.push({ id: requestId, says: "elect", winner });
      this.afterwards(reply);
    });
  }

  /** First what an isolate tells, then what it asks. */
  protected takeBlocks(
    ask: BlockAsk | null,
    told: readonly BlockTold[],
    sizing: Sizing,
    nowMs: number,
  ): { answer: BlockAnswer; deadlineMs: number | null } {
    const { protocol, store } = this;
    for (const one of told) store.applyBlock(protocol.closeBlock(store, one, nowMs));
    if (ask === null) return { answer: { ok: false, failure: null }, deadlineMs: null };
    const { answer, change } = protocol.grantBlock(store, ask, nowMs, sizing);
    store.applyBlock(change);
    return { answer, deadlineMs: change?.block.deadlineMs ?? null };
  }

  protected expireDue(nowMs: number): void {
    const { protocol, store } = this;
    for (const id of store.dueBlocks(nowMs)) store.applyBlock(protocol.expireBlock(store, id, nowMs));
    for (const id of store.due(nowMs)) store.apply(protocol.expire(store, id, nowMs));
  }
}
