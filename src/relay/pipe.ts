import { EDGE_GRACE_MS } from "../bounds.ts";
import { brokenStream } from "../engine/broken.ts";
import type { PermitOutcome } from "../routing/messages.ts";
import { ended } from "../telemetry/metrics.ts";
import type { RequestEnd } from "../telemetry/trace.ts";
import type { Exchange } from "./exchange.ts";
import type { Reservation } from "./reserve.ts";
import type { Seat } from "./seat.ts";

/**
 * Pipes an answer to the client, natively: no JavaScript runs for a chunk, which would cost two to three times the
 * pipe itself. The gate ends its body cleanly only when the answer is complete or was ended with an error in its own
 * format; an abrupt cut is a failure, and never looks complete to the client.
 */
export function pipeAnswer(
  exchange: Exchange,
  answer: { readonly response: Response; readonly abort: AbortController },
  seat: Seat,
  reservation: Reservation,
): ReadableStream {
  const { readable, writable } = new IdentityTransformStream();
  // In waitUntil, so that the invocation and with it the permit live as long as the stream does.
  exchange.ctx.waitUntil(run(exchange, answer, writable, seat, reservation));
  return readable;
}

async function run(
  exchange: Exchange,
  { response, abort }: { readonly response: Response; readonly abort: AbortController },
  writable: WritableStream<Uint8Array>,
  seat: Seat,
  reservation: Reservation,
): Promise<void> {
  const { request, trace } = exchange;
  const leave = () => abort.abort();
  // A stalled origin writes nothing, so no failing write would tell that the client left: the signal does.
  request.signal.addEventListener("abort", leave, { once: true });
  const timer = setTimeout(leave, Math.max(0, exchange.deadlineMs + EDGE_GRACE_MS - Date.now()));
  seat.keep();
  let end: RequestEnd = "complete";
  let outcome: PermitOutcome = "answered";
  try {
    if (response.body) await response.body.pipeTo(writable, { preventAbort: true, preventClose: true });
    // The slot is free before the client sees the end: its next request must not find it taken.
    if (reservation.finishEagerly) await reservation.finish();
    await writable.close();
  } catch (error) {
    const clientGone = request.signal.aborted;
    // A gate that died reports nothing any more: its request must not count as running until the silence is noticed.
    const freed = clientGone ? null : reservation.finish();
    end = (await breakOff(exchange, response, writable, clientGone)) ? "cut" : "client_gone";
    outcome = end === "cut" ? "failed" : "client_gone";
    await freed;
    trace.internalDetail = String(error);
  } finally {
    clearTimeout(timer);
    request.signal.removeEventListener("abort", leave);
    abort.abort();
    seat.release(outcome);
    ended(trace, end);
  }
}

/** Tells the client that the answer broke off. False when there is no client any more. */
async function breakOff(
  exchange: Exchange,
  response: Response,
  writable: WritableStream<Uint8Array>,
  clientGone: boolean,
): Promise<boolean> {
  const failure = { tag: "stream_broken", internalDetail: "the gate's answer was cut" } as const;
  try {
    if (clientGone || !response.headers.get("content-type")?.startsWith("text/event-stream")) {
      // One JSON cannot carry an error after its beginning: the connection breaks, as the answer did.
      await writable.abort(new Error(failure.tag));
      return !clientGone;
    }
    const writer = writable.getWriter();
    await writer.write(new TextEncoder().encode(brokenStream(exchange.endpoint.id, failure)));
    await writer.close();
    return true;
  } catch {
    return false;
  }
}
