import { OBJECT_CALL_TIMEOUT_MS } from "../bounds.ts";
import { type Asked, askedTokens, outputCap } from "./asked.ts";
import { BLOCK_EARNING_PER_SECOND, BLOCK_REST_MS, BLOCK_USE_MS } from "./bounds.ts";
import { blockWanted, type Demand, demanded, NO_DEMAND } from "./demand.ts";
import type { BlockAnswer, BlockClaim, BlockTold } from "./messages.ts";

/**
 * An isolate's side of blocks (block.ts), for one key and model: plain data, since requests of one isolate may share
 * nothing else. It counts what it admits, says so once, and admits nothing after it has said so.
 */
export interface Spender {
  readonly demand: Demand;
  readonly block: HeldBlock | null;
  /** Blocks that are done with and of which the budget has not been told yet. */
  readonly told: readonly BlockTold[];
  /** One ask at a time; a request that died while asking must not stop the others for good. */
  readonly askingUntilMs: number;
  /** When the last ask left. */
  readonly askedMs: number;
  /** After a refusal every request is asked for, for a while. */
  readonly restUntilMs: number;
}

type Granted = Extract<BlockAnswer, { ok: true }>;

export interface HeldBlock {
  readonly id: string;
  readonly grant: Granted;
  readonly leftTokens: number;
  readonly leftRequests: number;
  readonly sentAtMs: number;
}

/** What an isolate decided by itself. */
export interface Drawn {
  readonly claim: BlockClaim;
  readonly outputCapTokens: number | null;
  readonly grant: Granted;
}

/** When a spender starts asking: production's bounds, unless a simulation says otherwise. */
export interface Earning {
  readonly perSecond: number;
}

const EARNING: Earning = { perSecond: BLOCK_EARNING_PER_SECOND };

export const NEW_SPENDER: Spender = {
  demand: NO_DEMAND,
  block: null,
  told: [],
  askingUntilMs: 0,
  askedMs: 0,
  restUntilMs: 0,
};

/** Admits a request out of the block, if that covers it; null: the budget's object is to be asked. */
export function draw(
  spender: Spender,
  ask: Asked & { readonly endUser: string | null },
  nowMs: number,
): { spender: Spender; drawn: Drawn | null } {
  const { block } = spender;
  const whole = block?.grant.wholeTokens ?? Infinity;
  const { tokens, leastTokens } = askedTokens(ask, whole);
  const noted = { ...spender, demand: demanded(spender.demand, tokens, nowMs) };
  if (block === null || !isUsable(block, nowMs)) return { spender: noted, drawn: null };
  const { endUsersHaveLimits, overdraft } = block.grant;
  const strict =
    (ask.endUser !== null && endUsersHaveLimits) || (ask.atOnce === true && overdraft === "stop");
  const fits = leastTokens <= whole && tokens <= block.leftTokens && block.leftRequests >= 1;
  if (strict || !fits) return { spender: noted, drawn: null };
  const after = {
    ...block,
    leftTokens: block.leftTokens - tokens,
    leftRequests: block.leftRequests - 1,
  };
  return {
    spender: { ...noted, block: after },
    drawn: { claim: { id: block.id, tokens }, outputCapTokens: outputCap(ask, whole), grant: block.grant },
  };
}

/** What to ask for now, or null: the demand is too small, an ask is under way, or half of the last block is left. */
export function due(
  spender: Spender,
  nowMs: number,
  { perSecond }: Earning = EARNING,
): { requests: number; tokens: number } | null {
  const { askingUntilMs, block, restUntilMs } = spender;
  if (isAhead(askingUntilMs, OBJECT_CALL_TIMEOUT_MS, nowMs) || isAhead(restUntilMs, BLOCK_REST_MS, nowMs))
    return null;
  if (block !== null && isUsable(block, nowMs) && !isHalfUsed(block, nowMs)) return null;
  return blockWanted(spender.demand, BLOCK_USE_MS, perSecond, nowMs);
}

/** An ask leaves, and with it all that is to be told. */
export function asked(spender: Spender, nowMs: number): { spender: Spender; told: readonly BlockTold[] } {
  const askingUntilMs = nowMs + OBJECT_CALL_TIMEOUT_MS;
  return { spender: { ...spender, told: [], askingUntilMs, askedMs: nowMs }, told: spender.told };
}

/** Takes a grant in place of the block so far, of which nothing is admitted any more. */
export function took(
  spender: Spender,
  id: string,
  answer: BlockAnswer,
  sentAtMs: number,
  nowMs: number,
): Spender {
  const settled = { ...spender, askingUntilMs: 0 };
  if (!answer.ok) {
    const rested = { ...settled, restUntilMs: nowMs + BLOCK_REST_MS };
    // Refused is the key itself: it admits nothing any more, here neither.
    if (answer.failure === null) return rested;
    return { ...rested, block: null, told: withTold(spender.told, spender.block) };
  }
  const block: HeldBlock = {
    id,
    grant: answer,
    leftTokens: answer.tokens,
    leftRequests: answer.requests,
    sentAtMs,
  };
  return { ...settled, block, told: withTold(spender.told, spender.block) };
}

/** An ask had no answer: what it told is told again, and whatever it was granted is given back unused. */
export function lost(spender: Spender, id: string, told: readonly BlockTold[], nowMs: number): Spender {
  const again = [...told, ...spender.told, { id, requests: 0, tokens: 0 }];
  return { ...spender, told: again, askingUntilMs: 0, restUntilMs: nowMs + BLOCK_REST_MS };
}

/**
 * After the last ask, `askedMs`, nobody asked again: the block has ended and is to be told of, as no ask will carry the
 * word. Null while there is demand.
 */
export function ended(
  spender: Spender,
  askedMs: number,
): { spender: Spender; told: readonly BlockTold[] } | null {
  if (spender.askedMs !== askedMs) return null;
  const told = withTold(spender.told, spender.block);
  return told.length === 0 ? null : { spender: { ...spender, block: null, told: [] }, told };
}

function withTold(told: readonly BlockTold[], block: HeldBlock | null): readonly BlockTold[] {
  if (block === null) return told;
  const { grant, id, leftRequests, leftTokens } = block;
  return [...told, { id, requests: grant.requests - leftRequests, tokens: grant.tokens - leftTokens }];
}

/** From the instant at which its ask left, so that it ends here before it does at the object, whatever the answer took. */
function isUsable({ grant, sentAtMs }: HeldBlock, nowMs: number): boolean {
  return nowMs >= sentAtMs && nowMs < sentAtMs + grant.useMs;
}

function isHalfUsed({ grant, leftRequests, leftTokens, sentAtMs }: HeldBlock, nowMs: number): boolean {
  const late = nowMs - sentAtMs >= grant.useMs / 2;
  return late || leftTokens * 2 < grant.tokens || leftRequests * 2 < grant.requests;
}

/** A clock that stepped back must not hold anything up for longer than was meant. */
function isAhead(untilMs: number, byAtMostMs: number, nowMs: number): boolean {
  return nowMs < untilMs && untilMs - nowMs <= byAtMostMs;
}
