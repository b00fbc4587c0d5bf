import { parseJson, readBounded } from "../body.ts";
import { GATE_DRAIN_MS, OBJECT_CALL_TIMEOUT_MS, REPORT_MAX_BYTES } from "../bounds.ts";
import { BREAKER_DEFAULTS, type BudgetPlace, type LocationHint, type Pool, placeFrom } from "../catalogue.ts";
import {
  claimedSigner,
  GATE_SIGNATURE_HEADER,
  type GateReply,
  type GateReport,
  gateReportSchema,
  verifyReport,
} from "../contract/report.ts";
import { openTicket, SHADOW_TICKET } from "../contract/usage-ticket.ts";
import { withDeadline } from "../deadline.ts";
import { type BudgetAddress, budgetName, regionPool, tenantBudget } from "../durable/stub.ts";
import type { Env } from "../env.ts";
import { FailureError } from "../errors.ts";
import type { BudgetReport } from "../limits/messages.ts";
import { poolConfig } from "../relay/seat.ts";
import { directoryView, type View } from "../relay/view.ts";
import { roomElsewhere } from "../routing/elsewhere.ts";
import { type Secrets, secretsOf } from "../secrets.ts";
import { count } from "../telemetry/metrics.ts";
import { mirrorUsage, type Settled } from "../upstash/mirror.ts";
import { beatsOf } from "./beats.ts";
import type { Ticketed } from "./counted.ts";
import { tellDeaths } from "./deaths.ts";

/**
 * `POST /gate/v1/report`: one batch of a gate, fanned out. Usage goes to the budget that each ticket names, replica
 * state to the pools. Nothing is kept here, so a report finds its way even to an edge that just started.
 */
export async function takeReport(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
  const secrets = await secretsOf(env);
  const { report, pool, view } = await authenticated(request, env, secrets);
  count("meridian_reports_total", { pool: pool.id });
  const entries = await ticketed(report, pool, secrets);
  const [usage] = await Promise.all([
    settleUsage(entries, env, ctx),
    Promise.allSettled(heartbeats(report, entries, pool, view, env)),
  ]);
  tellDeaths(report, pool, secrets, env, ctx);
  const drain = pool.drained ? { drainMs: pool.drainMs ?? GATE_DRAIN_MS } : {};
  return Response.json({ ...usage, ...drain } satisfies GateReply);
}

async function authenticated(
  request: Request,
  env: Env,
  secrets: Secrets,
): Promise<{ report: GateReport; pool: Pool; view: View }> {
  const forbidden = () => new FailureError({ tag: "gate_forbidden" });
  const signer = claimedSigner(request.headers.get(GATE_SIGNATURE_HEADER) ?? "");
  if (signer === null) throw forbidden();
  const body = await readBounded(request, REPORT_MAX_BYTES);
  const view = await directoryView(env, REPORTS_HINT);
  const pool = view.catalogue.pools.find(({ id }) => id === signer.pool);
  // During a rotation the version before the newest still signs.
  const known = pool && [pool.secretVersion, pool.secretVersion - 1].includes(signer.secretVersion);
  if (!known) throw forbidden();
  const key = await secrets.poolKey(pool.id, signer.secretVersion);
  if (!(await verifyReport(body, signer.signature, key))) throw forbidden();
  const report = gateReportSchema.safeParse(parseJson(body));
  if (!report.success || report.data.pool !== pool.id) throw forbidden();
  return { report: report.data, pool, view };
}

/** Any directory has the catalogue; one for all reports keeps it warm. */
const REPORTS_HINT: LocationHint = "enam";

interface Batch {
  readonly address: BudgetAddress;
  readonly indexes: number[];
  readonly reports: BudgetReport[];
}

/** A gate settles what it was given. Anything else is forged or long over: dropping it is the right answer. */
async function ticketed(report: GateReport, pool: Pool, secrets: Secrets): Promise<Ticketed[]> {
  const nowMs = Date.now();
  const opened = await Promise.all(
    report.usage.map(async (entry, index) => {
      if (entry.ticket === SHADOW_TICKET) return [];
      const ticket = await openTicket(entry.ticket, secrets.ticketKey, nowMs);
      const known = ticket !== null && ticket.pool === pool.id && placeFrom(ticket.at) !== null;
      return known ? [{ ticket, entry, index }] : [];
    }),
  );
  return opened.flat();
}

async function settleUsage(
  entries: readonly Ticketed[],
  env: Env,
  ctx: ExecutionContext,
): Promise<GateReply> {
  const batches = new Map<string, Batch>();
  for (const { ticket, entry, index } of entries) {
    const address: BudgetAddress = {
      tenantRef: ticket.tenantRef,
      homeHint: ticket.homeHint as LocationHint,
      generation: ticket.generation,
      at: ticket.at as BudgetPlace,
    };
    const name = budgetName(address);
    const batch = batches.get(name) ?? { address, indexes: [], reports: [] };
    batches.set(name, batch);
    batch.indexes.push(index);
    batch.reports.push({
      requestId: ticket.requestId,
      keyId: ticket.keyId,
      model: ticket.model,
      attempt: ticket.attempt,
      usage: entry.usage,
      final: entry.final && !entry.carriedOn,
      tokensPerSecond: entry.tokensPerSecond ?? 0,
      unsent: entry.unsent ?? false,
      ...(ticket.block === null ? {} : { block: ticket.block }),
    });
  }
  const stop: string[] = [];
  const again: number[] = [];
  const settled: Settled[] = [];
  await Promise.all(
    [...batches.values()].map(async ({ address, indexes, reports }) => {
      try {
        const answer = await withDeadline(tenantBudget(env, address).report(reports), OBJECT_CALL_TIMEOUT_MS);
        stop.push(...answer.stop);
        settled.push({ address, reports });
      } catch {
        // Out of reach: the gate keeps these and sends them again; settling twice settles once.
        again.push(...indexes);
      }
    }),
  );
  mirrorUsage(settled, env, ctx);
  return { stop, again };
}

/** Each model's pool object hears of the replicas that serve it. A lost heartbeat is made good by the next. */
function heartbeats(
  report: GateReport,
  entries: readonly Ticketed[],
  pool: Pool,
  { catalogue, pools }: View,
  env: Env,
): Promise<void>[] {
  const beats = beatsOf(report, entries, pool, catalogue, (concurrency, model) => ({
    ...poolConfig(pool, concurrency, model),
    breakers: model?.breakers ?? BREAKER_DEFAULTS,
  }));
  return beats.map(({ model, cell, beat }) => {
    const room = roomElsewhere(pool.id, model, pools, catalogue.pools);
    const heard = regionPool(env, pool.id, pool.hint, model, cell).heartbeat({
      ...beat,
      roomElsewhere: room,
    });
    return withDeadline(heard, OBJECT_CALL_TIMEOUT_MS);
  });
}
