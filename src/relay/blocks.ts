import { OBJECT_CALL_TIMEOUT_MS } from "../bounds.ts";
import { locationOf, type Weights } from "../catalogue.ts";
import { randomBase62 } from "../contract/encoding.ts";
import { withDeadline } from "../deadline.ts";
import { type BudgetAddress, tenantBudget } from "../durable/stub.ts";
import { BLOCK_KEYS_MAX, BLOCK_USE_MS } from "../limits/bounds.ts";
import type { BlockAsk, ReserveAsk } from "../limits/messages.ts";
import {
  asked,
  type Drawn,
  draw,
  due,
  ended,
  lost,
  NEW_SPENDER,
  type Spender,
  took,
} from "../limits/spender.ts";
import { rememberDenial } from "./authenticate.ts";
import type { Exchange } from "./exchange.ts";
import { rememberTenant } from "./tenant-memory.ts";

/**
 * By object, key, secret and model. Requests of one isolate may share plain data and nothing else: whoever finds a block
 * half used asks for the next in its own `waitUntil`, and the others find it here.
 */
const spenders = new Map<string, Spender>();

/** Admits the request out of this isolate's block, or says by null that the budget's object is to be asked. */
export function drawFromBlock(
  exchange: Exchange,
  address: BudgetAddress,
  ask: ReserveAsk & { readonly weights: Weights },
): Drawn | null {
  // A far home hears of every request: its demand is what earns this location a lease.
  if (locationOf(address.at) !== exchange.here) return null;
  const name = `${address.tenantRef}/${address.at}/${ask.keyId}/${ask.secretHash}/${ask.model}`;
  const nowMs = Date.now();
  const { spender, drawn } = draw(spenders.get(name) ?? NEW_SPENDER, ask, nowMs);
  remember(name, spender);
  const size = due(spender, nowMs);
  if (size !== null) exchange.ctx.waitUntil(topUp(exchange, name, address, blockAsk(ask, size)));
  return drawn;
}

/** Asks for the next block. Should nobody ask after this, it also ends that block, so that nothing of it lies idle. */
async function topUp(
  { claims, env, here }: Exchange,
  name: string,
  address: BudgetAddress,
  ask: BlockAsk,
): Promise<void> {
  const sentAtMs = Date.now();
  const { spender, told } = asked(spenders.get(name) ?? NEW_SPENDER, sentAtMs);
  remember(name, spender);
  const call = (next: BlockAsk | null, done: typeof told) =>
    withDeadline(tenantBudget(env, address).blocks(next, done), OBJECT_CALL_TIMEOUT_MS);
  try {
    const answer = await call(ask, told);
    remember(name, took(spenders.get(name) ?? spender, ask.id, answer, sentAtMs, Date.now()));
    if (answer.ok) rememberTenant(claims, here, { ...answer, leaseHere: here !== claims.homeHint });
    else if (answer.failure) rememberDenial(claims, answer.failure);
  } catch {
    remember(name, lost(spenders.get(name) ?? spender, ask.id, told, Date.now()));
  }
  await new Promise((resolve) => setTimeout(resolve, BLOCK_USE_MS));
  const last = ended(spenders.get(name) ?? spender, sentAtMs);
  if (last === null) return;
  remember(name, last.spender);
  // A lost word strands the block until its deadline, and mints nothing.
  await call(null, last.told).catch(() => undefined);
}

function blockAsk(
  { from, keyId, model, secretHash, weights }: ReserveAsk & { readonly weights: Weights },
  size: { readonly requests: number; readonly tokens: number },
): BlockAsk {
  return { id: `blk_${randomBase62(22)}`, from, keyId, secretHash, model, weights, ...size };
}

function remember(name: string, spender: Spender): void {
  // What is dropped here comes back at its deadline.
  if (spenders.size >= BLOCK_KEYS_MAX && !spenders.has(name)) spenders.clear();
  spenders.set(name, spender);
}
