import { DRIFT_CHECK_MS, OBJECT_CALL_TIMEOUT_MS } from "../bounds.ts";
import { withDeadline } from "../deadline.ts";
import { type BudgetAddress, homeOf, tenantBudget } from "../durable/stub.ts";
import type { Env } from "../env.ts";
import type { BudgetReport } from "../limits/messages.ts";
import { setGauge } from "../telemetry/metrics.ts";
import { type Background, redisOf } from "./client.ts";
import { type Drift, dayOf, driftDays, driftOver, isAlarming, MirrorTotals } from "./totals.ts";

/** Reports that one budget has settled. */
export interface Settled {
  readonly address: BudgetAddress;
  readonly reports: readonly BudgetReport[];
}

let cached: MirrorTotals | null = null;
let cachedFor: Env | null = null;
let nextDriftCheckMs = 0;
let driftChecks = 0;

/** Copies settled usage to Redis after the gate has its answer. Does nothing where Redis is not set up. */
export function mirrorUsage(settled: readonly Settled[], env: Env, background: Background): void {
  const totals = totalsOf(env);
  if (totals === null || settled.length === 0) return;
  const nowMs = Date.now();
  const day = dayOf(nowMs);
  const entries = settled.flatMap(({ address: { tenantRef }, reports }) =>
    reports
      // What nobody got yet the budget has not settled either.
      .filter(({ unsent, final }) => final || !unsent)
      .map(({ requestId, attempt, usage }) => ({ tenantRef, requestId, attempt, usage, day })),
  );
  background.waitUntil(
    (async () => {
      await totals.add(entries, nowMs);
      if (nowMs < nextDriftCheckMs) return;
      nextDriftCheckMs = nowMs + DRIFT_CHECK_MS;
      // One tenant at a time, of those that report just then, each time another.
      driftChecks += 1;
      await checkDrift(settled[driftChecks % settled.length]!.address, env);
    })(),
  );
}

/**
 * How far the mirror is from a tenant's budget, today and yesterday (UTC); null where Redis is not set up or the tenant
 * is unknown. Also the gauge `meridian_mirror_drift_tokens`. While requests run it may be off by what was reported in
 * the last second. Rejects when Redis or the budget does not answer.
 */
export async function driftOf(
  { tenantRef, homeHint }: Pick<BudgetAddress, "tenantRef" | "homeHint">,
  env: Env,
): Promise<Drift | null> {
  const totals = totalsOf(env);
  if (totals === null) return null;
  const days = driftDays(Date.now());
  const [mirroredTokens, usage] = await Promise.all([
    totals.tokens(tenantRef, days),
    // The home knows what the locations that spend its leases have settled.
    withDeadline(tenantBudget(env, homeOf(tenantRef, homeHint)).usage(), OBJECT_CALL_TIMEOUT_MS),
  ]);
  if (usage === null) return null;
  const drift = driftOver(days, usage.byKey, mirroredTokens);
  setGauge("meridian_mirror_drift_tokens", { tenant: tenantRef }, drift.driftTokens);
  return drift;
}

async function checkDrift(address: BudgetAddress, env: Env): Promise<void> {
  // Out of reach: the failed mirror's own counter tells.
  const drift = await driftOf(address, env).catch(() => null);
  if (drift === null || !isAlarming(drift)) return;
  console.warn(JSON.stringify({ event: "mirror_drift", tenantRef: address.tenantRef, ...drift }));
}

function totalsOf(env: Env): MirrorTotals | null {
  if (cachedFor !== env) {
    cachedFor = env;
    const redis = redisOf(env);
    cached = redis === null ? null : new MirrorTotals(redis);
  }
  return cached;
}
