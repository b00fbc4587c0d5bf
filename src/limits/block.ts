import { START_DEADLINE_MS, UNREPORTED_GRACE_MS } from "../bounds.ts";
import type { Weights } from "../catalogue.ts";
import { keyDenial, modelDenial } from "./access.ts";
import { wholeBudget } from "./account.ts";
import { accountAt, accountsOf, type Book, limitsOf, profileOf, scopesOf } from "./book.ts";
import { BLOCK_LEAST_REQUESTS, BLOCK_SHARE, BLOCK_USE_MS } from "./bounds.ts";
import type { BlockAnswer, BlockAsk, BlockClaim, BlockTold } from "./messages.ts";
import type { Reservation } from "./reservation.ts";

/**
 * Reservations made in advance, in one row: an isolate that serves a hot tenant admits from it without asking. The block
 * holds its tokens, requests and places like the reservations that it stands for. Each is claimed by the first that the
 * budget hears of its request, and is an ordinary reservation from then on; nothing is drawn then, it only moves (I1).
 *
 *   open  the isolate may still admit
 *   told  it has said how much it admitted; what it did not is free again, the rest is waited for
 *   over  nothing is left, or the deadline passed: what was not claimed is free again. A claim that comes later is
 *         a late report like any other, and so debt
 */
export interface Block {
  readonly id: string;
  readonly keyId: string;
  readonly scopes: readonly string[];
  readonly model: string;
  /** Of every request in it. */
  readonly weights: Weights;
  readonly createdAtMs: number;
  readonly deadlineMs: number;
  readonly grantedTokens: number;
  readonly grantedRequests: number;
  /** Of the granted: neither claimed nor returned. Weighted tokens. */
  readonly heldTokens: number;
  /** Each with its place among concurrent requests. */
  readonly heldRequests: number;
  readonly state: "open" | "told" | "over";
}

/** What a transition of a block writes, all of it or nothing. */
export interface BlockChange<P> {
  readonly accounts: readonly P[];
  readonly block: Block;
}

/** How much of what is left one block may take, and below which size a block is not worth its row. */
export interface Sizing {
  readonly share: number;
  readonly leastRequests: number;
}

const SIZING: Sizing = { share: BLOCK_SHARE, leastRequests: BLOCK_LEAST_REQUESTS };

/** From the last admission out of a block to the first report on it, and what an unreported reservation is granted. */
const BLOCK_LIFE_MS = BLOCK_USE_MS + START_DEADLINE_MS + UNREPORTED_GRACE_MS;

/** Sets a part of what every scope of a key has left aside for one isolate, or nothing when that is too little. */
export function grantBlock<P>(
  book: Book<P>,
  ask: BlockAsk,
  nowMs: number,
  sizing: Sizing = SIZING,
): { answer: BlockAnswer; change: BlockChange<P> | null } {
  const key = book.record.keys.find((candidate) => candidate.id === ask.keyId);
  const denied = keyDenial(book.record, key, ask.secretHash, nowMs) ?? modelDenial(book.record, ask.model);
  if (denied) return { answer: { ok: false, failure: denied }, change: null };
  const known = book.block(ask.id);
  if (known && known.state !== "open") return { answer: { ok: false, failure: null }, change: null };
  const scopes = known ? known.scopes : scopesOf(book.record, key!, null);
  const limits = scopes.map((scope) => limitsOf(book.record, scope));
  const accounts = scopes.map((scope, index) => accountAt(book, scope, limits[index]!, nowMs));
  const whole = Math.min(...limits.map(wholeBudget));
  if (known) return { answer: granted(book, known, accounts, whole, nowMs), change: null };

  const part = sized(
    ask,
    accounts.map((account, index) => book.purse.room(account, limits[index]!, nowMs)),
    sizing,
  );
  if (part === null) return { answer: { ok: false, failure: null }, change: null };
  const after = accounts.map((account) => book.purse.admit(account, part.tokens, part.requests));
  const block: Block = {
    id: ask.id,
    keyId: ask.keyId,
    scopes,
    model: ask.model,
    weights: ask.weights,
    createdAtMs: nowMs,
    deadlineMs: nowMs + BLOCK_LIFE_MS,
    grantedTokens: part.tokens,
    grantedRequests: part.requests,
    heldTokens: part.tokens,
    heldRequests: part.requests,
    state: "open",
  };
  return { answer: granted(book, block, after, whole, nowMs), change: { accounts: after, block } };
}

/** The isolate admits nothing more from it: what it did not admit is free again, the rest waits for its claims. */
export function closeBlock<P>(book: Book<P>, told: BlockTold, nowMs: number): BlockChange<P> | null {
  const block = book.block(told.id);
  if (block?.state !== "open") return null;
  const tokens = Math.min(block.heldTokens, Math.max(0, block.grantedTokens - told.tokens));
  const requests = Math.min(block.heldRequests, Math.max(0, block.grantedRequests - told.requests));
  return returned(book, { ...block, state: "told" }, tokens, requests, nowMs);
}

/** Ends a block whose deadline passed: the isolate died, or what it admitted never ran. */
export function expireBlock<P>(book: Book<P>, id: string, nowMs: number): BlockChange<P> | null {
  const block = book.block(id);
  if (!block || block.state === "over" || block.deadlineMs > nowMs) return null;
  return returned(book, { ...block, state: "over" }, block.heldTokens, block.heldRequests, nowMs);
}

/**
 * The reservation of a request that was admitted out of a block and that the budget did not know yet. What it holds leaves
 * the block in the same change, so no account moves. Null when the block is not here or has nothing left.
 */
export function claimed<P>(
  book: Book<P>,
  requestId: string,
  claim: BlockClaim | undefined,
  nowMs: number,
): { reservation: Reservation; block: Block } | null {
  const block = claim && book.block(claim.id);
  if (!block || block.state === "over" || block.heldRequests < 1) return null;
  const last = block.state === "told" && block.heldRequests === 1;
  // The last one takes all that a block still holds, so that none is left in a row that nobody claims from.
  const heldTokens = last ? block.heldTokens : Math.min(block.heldTokens, Math.max(0, claim.tokens));
  const after: Block = {
    ...block,
    heldTokens: block.heldTokens - heldTokens,
    heldRequests: block.heldRequests - 1,
    state: last ? "over" : block.state,
  };
  const reservation: Reservation = {
    id: requestId,
    keyId: block.keyId,
    scopes: block.scopes,
    model: block.model,
    createdAtMs: nowMs,
    deadlineMs: nowMs + START_DEADLINE_MS + UNREPORTED_GRACE_MS,
    weights: block.weights,
    heldTokens,
    settledTokens: 0,
    paceTokensPerSecond: 0,
    attempts: [],
    state: "open",
    running: true,
  };
  return { reservation, block: after };
}

/** Gives back what nobody claims any more: tokens, requests and their places. */
function returned<P>(
  book: Book<P>,
  block: Block,
  tokens: number,
  requests: number,
  nowMs: number,
): BlockChange<P> {
  const { purse } = book;
  const heldRequests = block.heldRequests - requests;
  // With no request left to claim them, tokens would be held for nobody.
  const freedTokens = heldRequests === 0 ? block.heldTokens : tokens;
  const accounts = accountsOf(book, block, nowMs).map((account) => {
    const left = purse.leave(purse.release(account, freedTokens), requests);
    return purse.endRequest(left, false, requests);
  });
  const heldTokens = block.heldTokens - freedTokens;
  const state = heldRequests === 0 ? "over" : block.state;
  return { accounts, block: { ...block, heldTokens, heldRequests, state } };
}

/** The part of an ask that fits into a share of what each scope has left: as many tokens a request as were asked for. */
function sized(
  { tokens, requests }: BlockAsk,
  rooms: readonly { readonly tokens: number; readonly requests: number; readonly slots: number }[],
  { share, leastRequests }: Sizing,
): { tokens: number; requests: number } | null {
  let part = 1;
  for (const room of rooms) {
    part = Math.min(
      part,
      (share * room.tokens) / tokens,
      (share * Math.min(room.requests, room.slots)) / requests,
    );
  }
  const size = { tokens: Math.floor(tokens * part), requests: Math.floor(requests * part) };
  return size.requests >= leastRequests && size.tokens > 0 ? size : null;
}

function granted<P>(
  book: Book<P>,
  block: Block,
  accounts: readonly P[],
  whole: number,
  nowMs: number,
): BlockAnswer {
  const { tenant } = book.record;
  const limits = block.scopes.map((scope) => limitsOf(book.record, scope));
  const liveMs = Math.min(...accounts.map((account) => book.purse.liveMs(account, nowMs)));
  return {
    ok: true,
    tokens: block.grantedTokens,
    requests: block.grantedRequests,
    useMs: Math.max(0, Math.min(BLOCK_USE_MS, liveMs)),
    wholeTokens: Number.isFinite(whole) ? whole : null,
    endUsersHaveLimits: Object.keys(tenant.endUserLimits).length > 0,
    overdraft: tenant.overdraft,
    standing: book.purse.standing(accounts, limits),
    profile: profileOf(book.record, block.keyId),
  };
}
