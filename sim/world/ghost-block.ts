import type { Block } from "../../src/limits/block.ts";
import type { BlockClaim } from "../../src/limits/messages.ts";
import { check } from "./violation.ts";

interface Rows {
  readonly touched: ReadonlySet<string>;
  readonly touchedBlocks: ReadonlySet<string>;
  block(id: string): Block | undefined;
}

/** Watches blocks from both ends: what isolates admit out of them, and what becomes of them at their objects. */
export class BlockGhost {
  /** As their objects last had them. */
  readonly #blocks = new Map<string, Block>();
  /** What isolates admitted, by block. */
  readonly #drawn = new Map<string, { readonly tokens: number; readonly requests: number }>();
  /** Requests that blocks gave back before their deadline. */
  readonly #returned = new Map<string, number>();
  /** Requests that run on a block which nobody has claimed them from yet. */
  readonly #unclaimed = new Map<string, Set<string>>();

  /** An isolate admits by itself. I1, I6: the block that it does so from is a row, and holds what is drawn from it. */
  drew(claim: BlockClaim, block: Block | undefined): void {
    check(
      block?.state === "open",
      "I6",
      () => `an isolate admits from ${claim.id}, which is ${block?.state}`,
    );
    const sum = this.#drawn.get(claim.id) ?? { tokens: 0, requests: 0 };
    const drawn = { tokens: sum.tokens + claim.tokens, requests: sum.requests + 1 };
    this.#drawn.set(claim.id, drawn);
    const { grantedRequests, grantedTokens } = block!;
    const fits = drawn.tokens <= grantedTokens && drawn.requests <= grantedRequests;
    check(fits, "I1", () => `${JSON.stringify(drawn)} drawn of ${grantedTokens} and ${grantedRequests}`);
  }

  started({ id }: BlockClaim, requestId: string): void {
    this.#unclaimed.set(id, (this.#unclaimed.get(id) ?? new Set()).add(requestId));
  }

  isClaimed({ id }: BlockClaim, requestId: string): void {
    this.#unclaimed.get(id)?.delete(requestId);
  }

  /** One step of an object, before it is committed. Returns requests that run and that nothing holds tokens for now. */
  step(rows: Rows, nowMs: number): string[] {
    const uncovered: string[] = [];
    for (const id of rows.touchedBlocks) {
      const block = rows.block(id)!;
      // Where reservations change as well, they took from it.
      if (rows.touched.size === 0) this.#gaveBack(block, nowMs);
      this.#blocks.set(id, block);
      if (block.state !== "over") continue;
      uncovered.push(...(this.#unclaimed.get(id) ?? []));
      this.#unclaimed.delete(id);
    }
    return uncovered;
  }

  /** I1: before its deadline a block gives back what its isolate did not admit, and nothing else. */
  #gaveBack(after: Block, nowMs: number): void {
    const before = this.#blocks.get(after.id);
    if (before === undefined || nowMs >= after.deadlineMs) return;
    const requests = (this.#returned.get(after.id) ?? 0) + before.heldRequests - after.heldRequests;
    this.#returned.set(after.id, requests);
    const free = after.grantedRequests - (this.#drawn.get(after.id)?.requests ?? 0);
    check(requests <= free, "I1", () => `${after.id} gave back ${requests} requests and had ${free} free`);
  }
}
