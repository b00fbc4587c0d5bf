import { DISCARD_MAX_BYTES, SIGN_OF_LIFE_MS, SILENT_JSON_MAX_MS, SILENT_STREAM_MAX_MS } from "../bounds.ts";
import type { Model } from "../catalogue.ts";
import { within } from "../deadline.ts";
import { brokenStream } from "../engine/broken.ts";
import { type Failure, FailureError } from "../errors.ts";
import { count, ended } from "../telemetry/metrics.ts";
import type { RequestEnd } from "../telemetry/trace.ts";
import type { Admission, FirstAnswer } from "./attempts.ts";
import type { Exchange } from "./exchange.ts";
import type { Answer } from "./hedge.ts";
import { pipeInto, write } from "./pipe.ts";

/**
 * A client that waits in a queue, or for a slow first token, must hear something before what is between it and here gives
 * the connection up. Until then it gets nothing, so that its answer can still have a true status and come from anywhere.
 */
export async function comesInTime(first: Promise<FirstAnswer>, exchange: Exchange): Promise<boolean> {
  const maxMs = exchange.call.stream ? SILENT_STREAM_MAX_MS : SILENT_JSON_MAX_MS;
  // A failure in time is told in time, too.
  const settled = first.then(
    () => true,
    () => true,
  );
  return (await within(settled, Math.max(0, exchange.startedAtMs + maxMs - Date.now()))) ?? false;
}

/** Answers now, with signs of life until the answer comes; what fails from here on has status 200. */
export function bridge(
  exchange: Exchange,
  model: Model,
  admission: Admission,
  first: Promise<FirstAnswer>,
  headers: Record<string, string>,
  letGo: () => void,
): Response {
  const { call, trace, ctx } = exchange;
  count("meridian_bridged_total", { form: call.stream ? "stream" : "json" });
  trace.status = 200;
  const { readable, writable } = new IdentityTransformStream();
  const run = async () => {
    const came = await keptAlive(exchange, writable, first);
    if (came.kind === "failed") return tellFailure(exchange, writable, came.failure, letGo);
    const { answer, seat, tried } = came.first;
    if (answer.kind === "answer") {
      return pipeInto(exchange, answer, writable, seat, { ...admission, model, tried, letGo });
    }
    const failure = await refusalOf(answer);
    answer.abort.abort();
    seat.release("answered");
    await tellFailure(exchange, writable, failure, letGo);
  };
  ctx.waitUntil(run());
  return new Response(readable, { status: 200, headers });
}

type Came =
  | { readonly kind: "came"; readonly first: FirstAnswer }
  | { readonly kind: "failed"; readonly failure: Failure };

async function keptAlive(
  { call }: Exchange,
  writable: WritableStream<Uint8Array>,
  first: Promise<FirstAnswer>,
): Promise<Came> {
  // A comment is no event, and JSON may begin with white space: no client sees either.
  const sign = call.stream ? ": waiting\n\n" : " ";
  const settled: Promise<Came> = first.then(
    (first) => ({ kind: "came", first }),
    (error: unknown) => ({ kind: "failed", failure: failureOf(error) }),
  );
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
