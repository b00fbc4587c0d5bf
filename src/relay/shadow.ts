import {
  SHADOW_BODY_MAX_BYTES,
  SHADOW_MAX_MS,
  SHADOW_OUTPUT_TOKENS_MAX,
  SHADOWS_IN_FLIGHT_MAX,
} from "../bounds.ts";
import type { Model } from "../catalogue.ts";
import { SHADOW_TICKET } from "../contract/usage-ticket.ts";
import type { PermitOutcome } from "../routing/messages.ts";
import { pointOf, revisionsOf, shadowsOf } from "../routing/rollout.ts";
import { count } from "../telemetry/metrics.ts";
import { Trace } from "../telemetry/trace.ts";
import type { Admission } from "./attempts.ts";
import { callGate } from "./call.ts";
import type { Exchange } from "./exchange.ts";
import { findPlace } from "./place.ts";
import { rankFor } from "./ranking.ts";
import type { View } from "./view.ts";

let inFlight = 0;

/**
 * Copies a request to the revisions that shadow its model, in the background. Nobody is charged: the order carries no
 * usage ticket, so whatever a gate reports of it opens no budget. A copy never waits for a place, and its answer is read
 * and thrown away; how it went is in the revision's outcomes, by which a rollout is judged.
 */
export function shadow(exchange: Exchange, model: Model, view: View, admission: Admission): void {
  const revisions = revisionsOf(model, view.catalogue.models);
  for (const revision of shadowsOf(revisions, pointOf(exchange.trace.requestId))) {
    const fits = inFlight < SHADOWS_IN_FLIGHT_MAX && exchange.bytes.length <= SHADOW_BODY_MAX_BYTES;
    if (!fits) {
      count("meridian_shadows_total", { model: revision.id, result: "skipped" });
      continue;
    }
    inFlight += 1;
    exchange.ctx.waitUntil(
      copy(exchange, revision, view, admission)
        .catch(() => "failed" as const)
        .then((result) => {
          inFlight -= 1;
          count("meridian_shadows_total", { model: revision.id, result });
        }),
    );
  }
}

async function copy(
  exchange: Exchange,
  revision: Model,
  view: View,
  { reservation, work }: Admission,
): Promise<"answered" | "failed" | "full"> {
  const nowMs = Date.now();
  const id = `${exchange.terms.id}.shadow`;
  const { request, terms } = exchange;
  const { regions } = reservation.profile;
  const own: Exchange = {
    ...exchange,
    // The client's leaving ends its own answer; the copy has an end of its own.
    request: new Request(request.url, { method: "POST", signal: AbortSignal.timeout(SHADOW_MAX_MS) }),
    trace: new Trace(id, nowMs),
    resumable: false,
    deadlineMs: Math.min(exchange.deadlineMs, nowMs + SHADOW_MAX_MS),
    startByMs: Math.min(exchange.startByMs, nowMs + SHADOW_MAX_MS),
    terms: { ...terms, id, outputCapTokens: SHADOW_OUTPUT_TOKENS_MAX, ticket: SHADOW_TICKET },
  };
  const candidates = rankFor(exchange, view, revision, regions, work);
  const search = { model: revision, candidates, tried: new Map(), attempt: 0, work, mayWait: false };
  const seat = await findPlace(own, search).catch(() => null);
  if (seat?.kind === "place") seat.leave();
  if (seat?.kind !== "seat") return "full";
  let outcome: PermitOutcome = "failed";
  try {
    const result = await callGate(own, revision, reservation, seat, 0);
    if (result.kind === "retry") {
      outcome = result.outcome;
      return "failed";
    }
    await drain(result.response);
    outcome = "answered";
    return "answered";
  } finally {
    seat.release(outcome);
  }
}

async function drain({ body }: Response): Promise<void> {
  const reader = body?.getReader();
  while (reader && !(await reader.read()).done);
}
