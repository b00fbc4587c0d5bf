import { OBJECT_CALL_TIMEOUT_MS } from "../bounds.ts";
import type { Model } from "../catalogue.ts";
import { withDeadline } from "../deadline.ts";
import { tenantBudget } from "../durable/stub.ts";
import type { Saved } from "../limits/messages.ts";
import { count, ended } from "../telemetry/metrics.ts";
import type { Entry } from "./cache-tiers.ts";
import type { Exchange } from "./exchange.ts";
import { standingHeaders } from "./headers.ts";
import { type Reservation, reserve } from "./reserve.ts";
import type { View } from "./view.ts";

/**
 * Answers with what was kept: admitted and counted as a request like any other, at no tokens. Null where the tenant has
 * not agreed to it, or not any more. Throws the budget's refusal.
 */
export async function keptAnswer(
  exchange: Exchange,
  model: Model,
  view: View,
  entry: Entry,
  state: "hit" | "stale",
): Promise<Response | null> {
  const { trace, ctx, endpoint } = exchange;
  const free: Exchange = {
    ...exchange,
    terms: { ...exchange.terms, id: `${trace.requestId}.kept`, free: true },
  };
  const reservation = await reserve(free, model, view);
  if (reservation.profile.responseCache !== true) {
    ctx.waitUntil(reservation.cancel());
    return null;
  }
  ctx.waitUntil(settle(free, reservation, entry.saved));
  trace.status = 200;
  trace.cache = state;
  trace.degraded = state === "stale" ? "cache" : "none";
  trace.revision = entry.served;
  count("meridian_cache_total", { model: model.id, result: state });
  count("meridian_cache_saved_tokens_total", { model: model.id, kind: "prompt" }, entry.saved.promptTokens);
  count("meridian_cache_saved_tokens_total", { model: model.id, kind: "output" }, entry.saved.outputTokens);
  if (state === "stale") count("meridian_degraded_total", { model: model.id, step: "cache" });
  const headers = new Headers({
    "content-type": entry.contentType,
    age: String(Math.max(0, Math.floor((Date.now() - entry.storedAtMs) / 1_000))),
    "x-request-id": trace.requestId,
    "x-meridian-attempts": "0",
    "x-meridian-budget": reservation.address.at,
    "x-meridian-budget-mode": reservation.mode,
    "x-meridian-cache": state,
    "x-meridian-degraded": trace.degraded,
    "x-meridian-revision": entry.served,
    "server-timing": trace.serverTiming(),
    ...standingHeaders(reservation.standing, endpoint.errorShape, Date.now()),
  });
  if (exchange.call.stream) headers.set("cache-control", "no-cache");
  ended(trace, "complete");
  return new Response(entry.text, { headers });
}

/** A last report of an attempt that used nothing: the request counts, its place is free, and what it spared is known. */
async function settle(exchange: Exchange, reservation: Reservation, saved: Saved): Promise<void> {
  const { env, claims, call, terms } = exchange;
  const report = {
    ...{ requestId: terms.id, keyId: claims.keyId, model: call.model, attempt: 0 },
    usage: { promptTokens: 0, cachedTokens: 0, outputTokens: 0 },
    ...{ final: true, tokensPerSecond: 0, unsent: false, saved },
    ...(reservation.block === null ? {} : { block: reservation.block }),
  };
  // A lost one costs the count: an unreported reservation is void after its deadline.
  await withDeadline(tenantBudget(env, reservation.address).report([report]), OBJECT_CALL_TIMEOUT_MS).catch(
    () => undefined,
  );
}
