import { DISCARD_MAX_BYTES, SIGN_OF_LIFE_MS, SILENT_JSON_MAX_MS, SILENT_STREAM_MAX_MS } from "../bounds.ts";
import { within } from "../deadline.ts";
import { brokenStream } from "../engine/broken.ts";
import { type Failure, FailureError } from "../errors.ts";
import { count, ended } from "../telemetry/metrics.ts";
import type { RequestEnd } from "../telemetry/trace.ts";
import type { Exchange } from "./exchange.ts";
import type { Answer } from "./hedge.ts";
import { pipeInto, write } from "./pipe.ts";
import type { RelayPlan } from "./resume.ts";
import type { Seat } from "./seat.ts";

/** What a client is to get, once it is known. */
export type Coming =
  | {
      readonly kind: "answered";
      /** As it was tried. */
      readonly exchange: Exchange;
      readonly answer: Answer;
      readonly seat: Seat;
      readonly plan: Omit<RelayPlan, "letGo">;
      readonly headers: Record<string, string>;
    }
  | { readonly kind: "kept"; readonly response: Response };

/**
 * A client that waits in a queue, or for a slow first token, must hear something before what is between it and here gives
 * the connection up. Until then it gets nothing, so that its answer can still have a true status and come from anywhere.
 */
export async function comesInTime(coming: Promise<Coming>, exchange: Exchange): Promise<boolean> {
  const maxMs = exchange.call.stream ? SILENT_STREAM_MAX_MS : SILENT_JSON_MAX_MS;
  // A failure in time is told in time, too.
  const settled = coming.then(
    () => true,
    () => true,
  );
  return (await within(settled, Math.max(0, exchange.startedAtMs + maxMs - Date.now()))) ?? false;
}

/** Answers now, with signs of life until the answer comes; what fails from here on has status 200. */
export function bridge(
  exchange: Exchange,
  coming: Promise<Coming>,
  headers: Record<string, string>,
  letGo: () => void,
): Response {
  const { call, trace, ctx } = exchange;
  count("meridian_bridged_total", { form: call.stream ? "stream" : "json" });
  trace.status = 200;
  const { readable, writable } = new IdentityTransformStream();
  const run = async () => {
    const came = await keptAlive(exchange, writable, coming);
    if (came.kind === "failed") return tellFailure(exchange, writable, came.failure, letGo);
    if (came.kind === "kept") {
      letGo();
      // What was kept is whole: nothing of it can break off but the client.
      return came.response.body?.pipeTo(writable).catch(() => undefined);
    }
    const { answer, seat, plan } = came;
    if (answer.kind === "answer") {
      return pipeInto(came.exchange, answer, writable, seat, { ...plan, letGo });
    }
    const failure = await refusalOf(answer);
    answer.abort.abort();
    seat.release("answered");
    await tellFailure(exchange, writable, failure, letGo);
  };
  ctx.waitUntil(run());
  return new Response(readable, { status: 200, headers });
}

type Came = Coming | { readonly kind: "failed"; readonly failure: Failure };

async function keptAlive(
  { call }: Exchange,
  writable: WritableStream<Uint8Array>,
  coming: Promise<Coming>,
): Promise<Came> {
  // A comment is no event, and JSON may begin with white space: no client sees either.
  const sign = call.stream ? ": waiting\n\n" : " ";
  const settled = coming.catch((error: unknown): Came => ({ kind: "failed", failure: failureOf(error) }));
  for (;;) {
    // Of a client that left the request's own signal tells: nobody waits for it here.
    await write(writable, sign).catch(() => undefined);
    const came = await within(settled, SIGN_OF_LIFE_MS);
    if (came !== null) return came;
  }
}

function failureOf(error: unknown): Failure {
  return error instanceof FailureError ? error.failure : { tag: "internal", internalDetail: String(error) };
}

/** An engine's own refusal, in the words that the gate gave it. */
async function refusalOf({ response }: Answer): Promise<Failure> {
  const told = await response.text().catch(() => "");
  try {
    const { error } = JSON.parse(told.slice(0, DISCARD_MAX_BYTES)) as {
      error?: { message?: unknown; param?: unknown };
    };
    const message = typeof error?.message === "string" ? error.message : "The engine refused it.";
    const param = typeof error?.param === "string" ? error.param : null;
    return { tag: "origin_refused", status: response.status, message, param };
  } catch {
    return { tag: "origin_failed", internalDetail: `unreadable refusal with status ${response.status}` };
  }
}

/** An error event ends a stream. One JSON has no way to say it after it began: the connection breaks. */
async function tellFailure(
  exchange: Exchange,
  writable: WritableStream<Uint8Array>,
  failure: Failure,
  letGo: () => void,
): Promise<void> {
  const { call, endpoint, request, trace } = exchange;
  trace.failure = failure.tag;
  if ("internalDetail" in failure) trace.internalDetail = failure.internalDetail;
  let end: RequestEnd = failure.tag === "origin_failed" ? "failed" : "refused";
  try {
    if (call.stream) {
      await write(writable, brokenStream(endpoint.id, failure));
      await writable.close();
    } else await writable.abort(new Error(failure.tag));
  } catch {
    end = "client_gone";
  } finally {
    if (request.signal.aborted) end = "client_gone";
    letGo();
    ended(trace, end);
  }
}
