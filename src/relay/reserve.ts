import { LEASE_HINT_MS, OBJECT_CALL_TIMEOUT_MS, PROFILE_CACHE_MAX, PROFILE_FRESH_MS } from "../bounds.ts";
import { EVEN_WEIGHTS, type LocationHint, type Model, type Weights } from "../catalogue.ts";
import { sha256, toBase64Url } from "../contract/encoding.ts";
import type { PromptBasis } from "../contract/prompt-basis.ts";
import { withDeadline } from "../deadline.ts";
import { type BudgetAddress, homeOf, tenantBudget } from "../durable/stub.ts";
import type { Env } from "../env.ts";
import { FailureError } from "../errors.ts";
import type { KeyClaims } from "../keys.ts";
import { estimatePromptTokens, promptBasis } from "../limits/estimate.ts";
import type {
  AdmissionMode,
  ReserveAnswer,
  ReserveAsk,
  Standing,
  TenantProfile,
} from "../limits/messages.ts";
import { weighted } from "../limits/weights.ts";
import { count } from "../telemetry/metrics.ts";
import { rememberDenial } from "./authenticate.ts";
import type { Exchange } from "./exchange.ts";
import { knownRefusal, rememberRefusal } from "./refusals.ts";
import type { View } from "./view.ts";

/** A request's hold on its tenant's budget. */
export interface Reservation {
  /** The object that holds it. */
  readonly address: BudgetAddress;
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

const profiles = new Map<string, { readonly profile: TenantProfile; readonly atMs: number }>();

/** What this isolate knows of a key and its tenant from its last reservation; null: reserve first, then rank. */
export function knownProfile(keyId: string): TenantProfile | null {
  const known = profiles.get(keyId);
  return known && Date.now() - known.atMs < PROFILE_FRESH_MS ? known.profile : null;
}

/** The tenant's own object at this location, by the last answer; the home when none has a lease here. */
function addressFrom({ tenantRef, homeHint }: KeyClaims, here: LocationHint): BudgetAddress {
  const home = homeOf(tenantRef, homeHint);
  const leased = here !== homeHint && (leasedUntilMs.get(`${tenantRef}/${here}`) ?? 0) > Date.now();
  return leased ? { ...home, at: here } : home;
}

/** Locations that hold a lease, as budget objects said: asking one there is a shorter way than asking the home. */
const leasedUntilMs = new Map<string, number>();

/** Reserves under all limits of the tenant. Throws its refusal, or `budget_unavailable` when it is out of reach. */
export async function reserve(exchange: Exchange, model: Model, view: View): Promise<Reservation> {
  const { env, claims, trace, here } = exchange;
  const basis = promptBasis(exchange.call);
  const promptTokens = exchange.terms.free ? 0 : estimatePromptTokens(basis, view.learned.get(model.id));
  const ask = await askOf(exchange, promptTokens, model.weights ?? EVEN_WEIGHTS);
  const weightedPrompt = weighted(promptTokens, 0, ask.weights);
  trace.estimatedPromptTokens = ask.promptTokens;
  const fromMs = Date.now();
  const refused = knownRefusal(claims.keyId, weightedPrompt, fromMs);
  if (refused) throw new BudgetRefusal(refused);
  const answer = await answerOf(env, addressFrom(claims, here), ask);
  trace.spent("reserve", fromMs);
  if (!answer.ok) {
    rememberDenial(claims, answer.failure);
    rememberRefusal(claims.keyId, weightedPrompt, answer, Date.now());
    throw new BudgetRefusal(answer);
  }
  count("meridian_admissions_total", { mode: answer.mode });
  if (profiles.size >= PROFILE_CACHE_MAX) profiles.clear();
  profiles.set(claims.keyId, { profile: answer.profile, atMs: Date.now() });
  if (leasedUntilMs.size >= PROFILE_CACHE_MAX) leasedUntilMs.clear();
  if (answer.leaseHere) leasedUntilMs.set(`${claims.tenantRef}/${here}`, Date.now() + LEASE_HINT_MS);
  const address = { ...homeOf(claims.tenantRef, claims.homeHint), at: answer.at };
  const stub = tenantBudget(env, address);
  // Lost ones cost nothing: reports settle, and an unreported reservation is void after its deadline.
  const told = (run: Promise<void>) => withDeadline(run, OBJECT_CALL_TIMEOUT_MS).catch(() => undefined);
  return {
    address,
    estimatedPromptTokens: ask.promptTokens,
    basis,
    outputCapTokens: answer.outputCapTokens,
    finishEagerly: answer.finishEagerly,
    mode: answer.mode,
    standing: answer.standing,
    profile: answer.profile,
    race: (attempts) =>
      withDeadline(stub.race(exchange.terms.id, attempts), OBJECT_CALL_TIMEOUT_MS).catch(() => false),
    elect: (winner) => told(stub.elect(exchange.terms.id, winner)),
    finish: () => told(stub.finish(exchange.terms.id)),
    cancel: () => told(stub.cancel(exchange.terms.id)),
  };
}

async function askOf(
  { call, claims, terms, here }: Exchange,
  promptTokens: number,
  weights: Weights,
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
    maxOutputTokens: call.maxOutputTokens,
    choices: call.choices,
    generates: call.generates && !terms.free,
  };
}

/** Asks a budget object; a holder that is out of reach is passed over for the home. */
async function answerOf(env: Env, address: BudgetAddress, ask: ReserveAsk): Promise<ReserveAnswer> {
  try {
    return await withDeadline(tenantBudget(env, address).reserve(ask), OBJECT_CALL_TIMEOUT_MS);
  } catch (error) {
    if (address.at !== address.homeHint) return answerOf(env, { ...address, at: address.homeHint }, ask);
    const internalDetail = `tenant budget out of reach: ${String(error)}`;
    throw new FailureError({ tag: "budget_unavailable", retryAfterMs: 2_000, internalDetail });
  }
}

/** End users appear in rows and never by name; the tenant's ref keeps equal names of two tenants apart. */
async function endUserHash(tenantRef: string, endUser: string): Promise<string> {
  return toBase64Url((await sha256(`${tenantRef}\n${endUser}`)).subarray(0, 16));
}
