import { OBJECT_CALL_TIMEOUT_MS, PROFILE_CACHE_MAX, PROFILE_FRESH_MS } from "../bounds.ts";
import { sha256, toBase64Url } from "../contract/encoding.ts";
import { withDeadline } from "../deadline.ts";
import { type BudgetAddress, tenantBudget } from "../durable/stub.ts";
import { FailureError } from "../errors.ts";
import type { KeyClaims } from "../keys.ts";
import { estimatePromptTokens } from "../limits/estimate.ts";
import type { ReserveAnswer, ReserveAsk, Standing, TenantProfile } from "../limits/messages.ts";
import { rememberDenial } from "./authenticate.ts";
import type { Exchange } from "./exchange.ts";

/** A request's hold on its tenant's budget. */
export interface Reservation {
  readonly estimatedPromptTokens: number;
  /** Most output per choice within the whole budget, or null. */
  readonly outputCapTokens: number | null;
  readonly finishEagerly: boolean;
  readonly standing: Standing;
  readonly profile: TenantProfile;
  /** Frees the place among concurrent requests before the gate's last report comes. */
  finish(): Promise<void>;
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

/** What this isolate knows of a tenant from its last reservation; null: reserve first, then rank. */
export function knownProfile(tenantRef: string): TenantProfile | null {
  const known = profiles.get(tenantRef);
  return known && Date.now() - known.atMs < PROFILE_FRESH_MS ? known.profile : null;
}

export function budgetAddress({ tenantRef, homeHint }: KeyClaims): BudgetAddress {
  return { tenantRef, homeHint, generation: 0 };
}

/** Reserves under all limits of the tenant. Throws its refusal, or `budget_unavailable` when it is out of reach. */
export async function reserve(exchange: Exchange): Promise<Reservation> {
  const { env, claims, call, trace } = exchange;
  const estimatedPromptTokens = estimatePromptTokens(call);
  trace.estimatedPromptTokens = estimatedPromptTokens;
  const ask: ReserveAsk = {
    requestId: trace.requestId,
    keyId: claims.keyId,
    secretHash: claims.secretHash,
    endUser: call.endUser === null ? null : await endUserHash(claims.tenantRef, call.endUser),
    model: call.model,
    promptTokens: estimatedPromptTokens,
    maxOutputTokens: call.maxOutputTokens,
    choices: call.choices,
    generates: call.generates,
  };
  const stub = tenantBudget(env, budgetAddress(claims));
  const fromMs = Date.now();
  const answer = await withDeadline(stub.reserve(ask), OBJECT_CALL_TIMEOUT_MS).catch((error: unknown) => {
    const internalDetail = `tenant budget out of reach: ${String(error)}`;
    throw new FailureError({ tag: "budget_unavailable", retryAfterMs: 2_000, internalDetail });
  });
  trace.spent("reserve", fromMs);
  if (!answer.ok) {
    rememberDenial(claims, answer.failure);
    throw new BudgetRefusal(answer);
  }
  if (profiles.size >= PROFILE_CACHE_MAX) profiles.clear();
  profiles.set(claims.tenantRef, { profile: answer.profile, atMs: Date.now() });
  const settled = (run: Promise<void>) => withDeadline(run, OBJECT_CALL_TIMEOUT_MS).catch(() => undefined);
  return {
    estimatedPromptTokens,
    outputCapTokens: answer.outputCapTokens,
    finishEagerly: answer.finishEagerly,
    standing: answer.standing,
    profile: answer.profile,
    // Lost ones cost nothing: reports settle, and an unreported reservation is void after its deadline.
    finish: () => settled(stub.finish(trace.requestId)),
    cancel: () => settled(stub.cancel(trace.requestId)),
  };
}

/** End users appear in rows and never by name; the tenant's ref keeps equal names of two tenants apart. */
async function endUserHash(tenantRef: string, endUser: string): Promise<string> {
  return toBase64Url((await sha256(`${tenantRef}\n${endUser}`)).subarray(0, 16));
}
