import { EDGE_GRACE_MS, TOKEN_GAP_TIMEOUT_MS } from "../bounds.ts";
import { brokenStream } from "../engine/broken.ts";
import type { PermitOutcome } from "../routing/messages.ts";
import { ended } from "../telemetry/metrics.ts";
import type { RequestEnd } from "../telemetry/trace.ts";
import type { Exchange } from "./exchange.ts";
import { Kept, stillKept } from "./keep.ts";
import { type RelayPlan, type Resumed, resume } from "./resume.ts";
import type { Seat } from "./seat.ts";

interface Origin {
  readonly response: Response;
  readonly abort: AbortController;
}

/**
 * Pipes an answer to the client, natively: no JavaScript runs for a chunk, which would cost two to three times the
 * pipe itself. The gate ends its body cleanly only when the answer is complete or was ended with an error in its own
 * format; an abrupt cut is a failure. A stream that can be carried on elsewhere then goes on in the same response;
 * any other never looks complete to the client.
 */
export function pipeAnswer(exchange: Exchange, answer: Origin, seat: Seat, plan: RelayPlan): ReadableStream {
  const { readable, writable } = new IdentityTransformStream();
  // In waitUntil, so that the invocation and with it the permit live as long as the stream does.
  exchange.ctx.waitUntil(pipeInto(exchange, answer, writable, seat, plan));
  return readable;
}

/** The same into a response that the client already has. Never rejects. */
export async function pipeInto(
  exchange: Exchange,
  first: Origin,
  writable: WritableStream<Uint8Array>,
  seat: Seat,
  plan: RelayPlan,
): Promise<void> {
  const { request, trace } = exchange;
  let origin = first;
  let held = seat;
  // What the client has of the parts before this one.
  let before = new Uint8Array();
  // Cut off while its client was there, and not yet carried on: no gate works for it.
  let isPaused = false;
  const leave = () => origin.abort.abort();
  // A stalled origin writes nothing, so no failing write would tell that the client left: the signal does.
  request.signal.addEventListener("abort", leave, { once: true });
  const timer = setTimeout(leave, Math.max(0, exchange.deadlineMs + EDGE_GRACE_MS - Date.now()));
  let end: RequestEnd = "complete";
  try {
    for (;;) {
      const cut = await pipeOnce(exchange, origin, before, writable, held, plan);
      if (cut === null) break;
      isPaused = !request.signal.aborted;
      const mayGoOn = exchange.resumable && !request.signal.aborted;
      const resumed = mayGoOn ? await resumeKept(exchange, plan, held, cut.sent) : null;
      if (resumed === null || resumed.kind === "broken") throw cut.error;
      trace.resumes += 1;
      if (resumed.kind === "resumed") {
        origin = resumed.answer;
        held = resumed.seat;
        isPaused = false;
      }
      await write(writable, resumed.tail);
      if (resumed.kind === "complete") break;
      before = joined(cut.sent ?? before, new TextEncoder().encode(resumed.tail));
      if (request.signal.aborted) leave();
    }
    // The slot is free before the client sees the end: its next request must not find it taken.
    if (plan.reservation.finishEagerly) await plan.reservation.finish();
    // SDKs hang up at `[DONE]`, often before the close: all was sent, so the answer is complete all the same.
    await writable.close().catch(() => undefined);
  } catch (error) {
    // Written in the pause to a client that had left: the second engine is not read any more.
    held.release(request.signal.aborted ? "client_gone" : "failed");
    end = await breakOff(exchange, first.response, writable, plan, isPaused);
    trace.internalDetail = String(error);
  } finally {
    clearTimeout(timer);
    request.signal.removeEventListener("abort", leave);
    leave();
    plan.letGo();
    ended(trace, end);
  }
}

/** What was sent stays in memory for as long as somebody is sought, and counts. */
function resumeKept(
  exchange: Exchange,
  plan: RelayPlan,
  failed: Seat,
  sent: Uint8Array | null,
): Promise<Resumed> {
  return resume(exchange, plan, failed, sent).finally(stillKept(sent?.length ?? 0));
}

/** Pipes one origin's answer to its end. Null when it ended properly, else what is known of the cut. */
async function pipeOnce(
  exchange: Exchange,
  { response, abort }: Origin,
  before: Uint8Array,
  writable: WritableStream<Uint8Array>,
  seat: Seat,
  { model }: RelayPlan,
): Promise<{ readonly error: unknown; readonly sent: Uint8Array | null } | null> {
  const { request } = exchange;
  let outcome: PermitOutcome = "answered";
  let kept: Kept | null = null;
  seat.keep();
  try {
    let body = response.body;
    if (body !== null && exchange.resumable && response.ok) {
      const [shown, branch] = body.tee();
      body = shown;
      const silenceMs = (model.tokenGapTimeoutMs ?? TOKEN_GAP_TIMEOUT_MS) + EDGE_GRACE_MS;
      kept = new Kept(branch, before, silenceMs, () => abort.abort());
    }
    await body?.pipeTo(writable, { preventAbort: true, preventClose: true });
    return null;
  } catch (error) {
    outcome = request.signal.aborted ? "client_gone" : "failed";
    const sent = kept === null || request.signal.aborted ? null : await kept.rest();
    return { error, sent };
  } finally {
    kept?.drop();
    abort.abort();
    seat.release(outcome);
  }
}

function joined(one: Uint8Array, other: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(one.length + other.length);
  bytes.set(one);
  bytes.set(other, one.length);
  return bytes;
}

export async function write(writable: WritableStream<Uint8Array>, text: string): Promise<void> {
  if (text === "") return;
  const writer = writable.getWriter();
  await writer.write(new TextEncoder().encode(text));
  writer.releaseLock();
}

/** Tells the client that the answer broke off, if there still is one. */
async function breakOff(
  exchange: Exchange,
  response: Response,
  writable: WritableStream<Uint8Array>,
  { reservation }: RelayPlan,
  isPaused: boolean,
): Promise<RequestEnd> {
  const clientGone = exchange.request.signal.aborted;
  const failure = { tag: "stream_broken", internalDetail: "the gate's answer was cut" } as const;
  const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") ?? false;
  // A gate that died reports nothing any more: its request must not count as running until the silence is noticed. Of
  // one JSON, and of a stream that was to be carried on, no final report comes either: what was reported is the bill.
  const over = exchange.resumable || !isStream;
  // A gate tells that its client left; in the pause of a stream that is to be carried on there is none to do it.
  const told = clientGone && !(isPaused && over);
  const freed = told ? null : over ? reservation.cancel() : reservation.finish();
  try {
    if (clientGone || !isStream) {
      // One JSON cannot carry an error after its beginning: the connection breaks, as the answer did.
      await writable.abort(new Error(failure.tag));
      return clientGone ? "client_gone" : "cut";
    }
    const writer = writable.getWriter();
    await writer.write(new TextEncoder().encode(brokenStream(exchange.endpoint.id, failure)));
    await writer.close();
    return "cut";
  } catch {
    return "client_gone";
  } finally {
    await freed;
  }
}
