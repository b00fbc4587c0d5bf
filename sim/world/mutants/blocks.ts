import type { Block } from "../../../src/limits/block.ts";
import type { Spender } from "../../../src/limits/spender.ts";
import { PROTOCOL } from "../protocol.ts";
import { type Mutant, mutant, plain } from "./mutant.ts";

const { leasePurse } = PROTOCOL;

/** What may go wrong with reservations made in advance. */
export const IN_BLOCKS: readonly Mutant[] = [
  mutant("block-without-debit", "a block is granted and not taken from its accounts", {
    grantBlock: (book, ask, nowMs, sizing) => {
      const { answer, change } = PROTOCOL.grantBlock(book, ask, nowMs, sizing);
      return { answer, change: change && { ...change, accounts: [] } };
    },
  }),
  mutant("block-granted-twice", "an ask for a block that arrives twice is granted twice", {
    grantBlock: (book, ask, nowMs, sizing) =>
      PROTOCOL.grantBlock({ ...plain(book), block: () => undefined }, ask, nowMs, sizing),
  }),
  mutant("claim-keeps-block", "a claimed request's tokens stay in its block as well", {
    report: (book, message, nowMs) => {
      const reported = PROTOCOL.report(book, message, nowMs);
      return { ...reported, change: { ...reported.change, block: null } };
    },
  }),
  mutant("late-claim-holds", "a claim on a block that is over holds tokens all the same", {
    report: (book, message, nowMs) =>
      PROTOCOL.report({ ...plain(book), block: (id) => reopened(book.block(id)) }, message, nowMs),
  }),
  mutant("told-returns-all", "a block whose isolate is done returns what it admitted as well", {
    closeBlock: (book, told, nowMs) => PROTOCOL.closeBlock(book, { ...told, requests: 0, tokens: 0 }, nowMs),
  }),
  mutant("told-twice", "what an isolate did not use is given back each time that it says so", {
    closeBlock: (book, told, nowMs) => {
      const seen = { ...plain(book), block: (id: string) => untold(book.block(id)) };
      return PROTOCOL.closeBlock(seen, told, nowMs);
    },
  }),
  mutant("block-never-ends", "a block of an isolate that died is held for good", {
    expireBlock: () => null,
  }),
  mutant("block-keeps-places", "a block that ends gives back its tokens and not its places", {
    expireBlock: (book, id, nowMs) => {
      const purse = { ...book.purse, leave: <P>(account: P) => account };
      return PROTOCOL.expireBlock({ ...plain(book), purse: purse as typeof book.purse }, id, nowMs);
    },
  }),
  mutant("admits-from-old-block", "an isolate goes on admitting from a block that it has told of", {
    spender: {
      ...PROTOCOL.spender,
      ended: (spender, askedMs) => {
        const last = PROTOCOL.spender.ended(spender, askedMs);
        return last && { ...last, spender: { ...last.spender, block: spender.block } };
      },
      draw: (spender, ask, nowMs) => PROTOCOL.spender.draw(spender, ask, Math.min(nowMs, usableMs(spender))),
    },
  }),
  mutant("block-outlives-lease", "a holder's block may be used after the lease that it came from", {
    leasePurse: { ...leasePurse, liveMs: () => Infinity },
    spender: {
      ...PROTOCOL.spender,
      draw: (spender, ask, nowMs) => PROTOCOL.spender.draw(spender, ask, Math.min(nowMs, usableMs(spender))),
      due: (spender, nowMs, earning) =>
        spender.block === null ? PROTOCOL.spender.due(spender, nowMs, earning) : null,
      ended: () => null,
    },
  }),
  mutant("draws-beyond-block", "an isolate does not count what it has admitted", {
    spender: {
      ...PROTOCOL.spender,
      draw: (spender, ask, nowMs) => {
        const { drawn, spender: after } = PROTOCOL.spender.draw(spender, ask, nowMs);
        return { drawn, spender: { ...after, block: spender.block } };
      },
    },
  }),
];

function reopened(block: Block | undefined): Block | undefined {
  return block?.state === "over" ? { ...block, state: "open", heldRequests: 1, heldTokens: 100 } : block;
}

function untold(block: Block | undefined): Block | undefined {
  return block?.state === "told" ? { ...block, state: "open" } : block;
}

/** An instant at which the block that a spender has may still be used. */
function usableMs({ block }: Spender): number {
  return block?.sentAtMs ?? Infinity;
}
