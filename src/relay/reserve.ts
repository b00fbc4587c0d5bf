import { CONTEXT_LEAST_TOKENS, OBJECT_CALL_TIMEOUT_MS } from "../bounds.ts";
import { EVEN_WEIGHTS, locationOf, type Model, type Weights } from "../catalogue.ts";
import { sha256, toBase64Url } from "../contract/encoding.ts";
import type { PromptBasis } from "../contract/prompt-basis.ts";
import { withDeadline } from "../deadline.ts";
import { type BudgetAddress, homeOf, tenantBudget } from "../durable/stub.ts";
import { FailureError } from "../errors.ts";
import { estimatePromptTokens, promptBasis } from "../limits/estimate.ts";
import type {
  AdmissionMode,
  BlockClaim,
  ReserveAnswer,
  ReserveAsk,
  Standing,
  TenantProfile,
} from "../limits/messages.ts";
import { weighted } from "../limits/weights.ts";
import { count } from "../telemetry/metrics.ts";
import { rememberDenial } from "./authenticate.ts";
import { drawFromBlock } from "./blocks.ts";
import type { Exchange } from "./exchange.ts";
import { knownRefusal, rememberRefusal } from "./refusals.ts";
import { addressFrom, rememberSilence, rememberTenant, rememberWork } from "./tenant-memory.ts";
import type { View } from "./view.ts";

/** A request's hold on its tenant's budget. */
export interface Reservation {
  /** The object that holds it. */
  readonly address: BudgetAddress;
  /** The block that this isolate admitted it from, or null where the object was asked. */
  readonly block: BlockClaim | null;
  readonly estimatedPromptTokens: number;
  /** What the estimate was made of. */
  readonly basis: PromptBasis;
  /** Most output per choice within the whole budget, or null. */
  readonly outputCapTokens: number | null;
  readonly finishEagerly: boolean;
  readonly mode: AdmissionMode;
  readonly standing: Standing;
  readonly profile: TenantProfile;
  /** Frees the place among concurrent requests before the gate's last report comes. */
  finish(): Promise<void>;
  /** Before a second attempt is made for the same answer; false: there must be none. */
  race(attempts: readonly number[]): Promise<boolean>;
  /** Of those that race this one serves: it is charged, the others are not. */
  elect(winner: number): Promise<void>;
  /** Nothing ran: gives everything back. */
  cancel(): Promise<void>;
}

/** A refusal by the budget also tells the client where it stands. */
export class BudgetRefusal extends FailureError {
  readonly standing: Standing | null;
  constructor(answer: Extract<ReserveAnswer, { ok: false }>) {
    super(answer.failure);
    this.standing = answer.standing;
  }
}

/** Reserves under all limits of the tenant. Throws its refusal, or `budget_unavailable` when it is out of reach. */
export async function reserve(exchange: Exchange, model: Model, view: View): Promise<Reservation> {
  const { claims, trace, here } = exchange;
  const basis = promptBasis(exchange.call);
  const promptTokens = exchange.terms.free ? 0 : estimatePromptTokens(basis, view.learned.get(model.id));
  const ask = await askOf(exchange, promptTokens, model);
  const weightedPrompt = weighted(promptTokens, 0, ask.weights);
  trace.estimatedPromptTokens = ask.promptTokens;
  const fromMs = Date.now();
  const refused = knownRefusal(claims.keyId, weightedPrompt, fromMs);
  if (refused) throw new BudgetRefusal(refused);
  const address = addressFrom(claims, here);
  const drawn = drawFromBlock(exchange, address, ask);
  if (drawn !== null) {
    trace.spent("reserve", fromMs);
    rememberWork(claims, here, { asked: 0, drawn: 1 });
    const { claim, grant, outputCapTokens } = drawn;
    const { profile, standing } = grant;
    const decided = { mode: "block" as const, outputCapTokens, finishEagerly: false, profile, standing };
    return held(exchange, address, claim, { estimatedPromptTokens: ask.promptTokens, basis, ...decided });
  }
  const answer = await answerOf(exchange, address, ask);
  trace.spent("reserve", fromMs);
  if (!answer.ok) {
    rememberDenial(claims, answer.failure);
    rememberRefusal(claims.keyId, weightedPrompt, answer, Date.now());
    throw new BudgetRefusal(answer);
  }
  rememberWork(claims, here, { asked: 1, drawn: 0 });
  rememberTenant(claims, here, answer);
  const { finishEagerly, mode, outputCapTokens, profile, standing } = answer;
  const decided = { mode, outputCapTokens, finishEagerly, profile, standing };
  const at = { ...homeOf(claims.tenantRef, claims.homeHint), at: answer.at };
  return held(exchange, at, null, { estimatedPromptTokens: ask.promptTokens, basis, ...decided });
}

/** A reservation that was made, by an object or out of a block, and how to end it. */
function held(
  { env, terms: { id } }: Exchange,
  address: BudgetAddress,
  block: BlockClaim | null,
  decided: Omit<Reservation, "address" | "block" | "race" | "elect" | "finish" | "cancel">,
): Reservation {
  count("meridian_admissions_total", { mode: decided.mode });
  const stub = () => tenantBudget(env, address);
  const claim = block ?? undefined;
  // Lost ones cost nothing: reports settle, and an unreported reservation is void after its deadline.
  const told = (run: Promise<void>) => withDeadline(run, OBJECT_CALL_TIMEOUT_MS).catch(() => undefined);
  return {
    ...decided,
    address,
    block,
    race: (attempts) =>
      withDeadline(stub().race(id, attempts, claim), OBJECT_CALL_TIMEOUT_MS).catch(() => false),
    elect: (winner) => told(stub().elect(id, winner)),
    finish: () => told(stub().finish(id, claim)),
    cancel: () => told(stub().cancel(id, claim)),
  };
}

async function askOf(
  { call, claims, terms, here }: Exchange,
  promptTokens: number,
  { contextTokens, weights = EVEN_WEIGHTS }: Model,
): Promise<ReserveAsk & { readonly weights: Weights }> {
  return {
    requestId: terms.id,
    from: here,
    keyId: claims.keyId,
    secretHash: claims.secretHash,
    endUser: call.endUser === null ? null : await endUserHash(claims.tenantRef, call.endUser),
    model: call.model,
    promptTokens,
    weights,
    // What is counted only at its end is held from the start, so it cannot be open-ended.
    maxOutputTokens:
      call.maxOutputTokens ?? (call.atOnce ? (contextTokens ?? CONTEXT_LEAST_TOKENS - 1) : null),
    choices: call.choices,
    generates: call.generates && !terms.free,
    ...(call.atOnce ? { atOnce: true } : {}),
  };
}

/** Asks a budget object; a shard out of reach is passed over for its location's own object, and that for the home. */
async function answerOf(exchange: Exchange, address: BudgetAddress, ask: ReserveAsk): Promise<ReserveAnswer> {
  try {
    return await withDeadline(tenantBudget(exchange.env, address).reserve(ask), OBJECT_CALL_TIMEOUT_MS);
  } catch (error) {
    rememberSilence(exchange.claims, address.at);
    const own = locationOf(address.at);
    if (address.at !== own) return answerOf(exchange, { ...address, at: own }, ask);
    if (own !== address.homeHint) return answerOf(exchange, { ...address, at: address.homeHint }, ask);
    const internalDetail = `tenant budget out of reach: ${String(error)}`;
    throw new FailureError({ tag: "budget_unavailable", retryAfterMs: 2_000, internalDetail });
  }
}

/** End users appear in rows and never by name; the tenant's ref keeps equal names of two tenants apart. */
async function endUserHash(tenantRef: string, endUser: string): Promise<string> {
  return toBase64Url((await sha256(`${tenantRef}\n${endUser}`)).subarray(0, 16));
}
