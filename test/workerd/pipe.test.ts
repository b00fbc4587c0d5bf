import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { expect, test, vi } from "vitest";
import { RESUME_KEPT_IN_FLIGHT_MAX_BYTES } from "../../src/bounds.ts";
import type { Exchange } from "../../src/relay/exchange.ts";
import { Kept, stillKept } from "../../src/relay/keep.ts";
import { pipeInto } from "../../src/relay/pipe.ts";
import * as resuming from "../../src/relay/resume.ts";
import type { Seat } from "../../src/relay/seat.ts";
import { Trace } from "../../src/telemetry/trace.ts";

/** Streams whose client leaves while they are carried on: whatever was taken for them goes back, at once. */

const EVENT =
  'data: {"id":"a","created":1,"choices":[{"index":0,"delta":{"content":"sea"},"finish_reason":null}]}\n\n';

function seatOf(name: string, released: string[]): Seat {
  return {
    kind: "seat",
    replica: name,
    candidate: { pool: { id: name, region: name, gates: ["http://gate.invalid"] } },
    ...{ keep: () => undefined, started: () => undefined },
    release: (outcome: string) => released.push(`${name} ${outcome}`),
  } as unknown as Seat;
}

test("what waits to be carried on takes up room like what flows", async () => {
  const keep = async () => {
    const kept = new Kept(new Response(EVENT).body!, new Uint8Array(), 60_000, () => undefined);
    const sent = await kept.rest();
    kept.drop();
    return sent;
  };
  const forget = stillKept(RESUME_KEPT_IN_FLIGHT_MAX_BYTES);
  expect(await keep()).toBeNull();
  forget();
  expect((await keep())?.length).toBe(EVENT.length);
});

/** A stream that breaks off after one event and half of another. */
function cutStream(): Response {
  let sent = false;
  const body = new ReadableStream({
    type: "bytes",
    pull(controller) {
      if (sent) return controller.error(new Error("cut"));
      sent = true;
      controller.enqueue(new TextEncoder().encode(EVENT + EVENT.slice(0, 40)));
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

async function piped(during: (leave: () => void, released: string[]) => void) {
  vi.spyOn(console, "log").mockImplementation(() => undefined);
  const ctx = createExecutionContext();
  const client = new AbortController();
  const released: string[] = [];
  const reservation = { finishEagerly: false, cancel: vi.fn(async () => undefined), finish: vi.fn() };
  const exchange = {
    ...{ ctx, call: { stream: true, model: "m" }, endpoint: { id: "chat" }, exact: true, resumable: true },
    ...{ request: new Request("http://x", { signal: client.signal }), trace: new Trace("req_1", Date.now()) },
    ...{ startedAtMs: Date.now(), deadlineMs: Date.now() + 60_000, asked: {}, terms: { id: "req_1" } },
  } as unknown as Exchange;
  const plan = {
    model: { id: "m" },
    reservation,
    candidates: [],
    work: {},
    tried: new Map(),
    letGo: vi.fn(),
  };
  const { readable, writable } = new IdentityTransformStream();
  const reader = readable.getReader();
  const read = async () => {
    while (!(await reader.read()).done);
  };
  const reading = read().catch(() => undefined);
  const leave = () => {
    client.abort();
    void reader.cancel().catch(() => undefined);
  };
  during(leave, released);
  const first = { response: cutStream(), abort: new AbortController() };
  await pipeInto(exchange, first, writable, seatOf("first", released), plan as never);
  await waitOnExecutionContext(ctx);
  await reading;
  expect(plan.letGo).toHaveBeenCalledOnce();
  return { released, reservation };
}

test("a client that leaves in the pause holds neither its reservation nor its place any longer", async () => {
  const startMs = Date.now();
  const { released, reservation } = await piped((leave) => setTimeout(leave, 300));
  expect(released[0]).toBe("first failed");
  expect(reservation.cancel).toHaveBeenCalledOnce();
  expect(Date.now() - startMs).toBeLessThan(5_000);
});

test("a client that leaves when its stream is about to go on gives the second place back", async () => {
  const second = { response: new Response("data: more\n\n"), abort: new AbortController() };
  const resume = vi.spyOn(resuming, "resume");
  const { released, reservation } = await piped((leave, all) =>
    resume.mockImplementation(async () => {
      leave();
      await new Promise((resolve) => setTimeout(resolve, 20));
      const answer = { kind: "answer", ...second } as const;
      return { kind: "resumed", answer, seat: seatOf("second", all), tail: EVENT.slice(40) };
    }),
  );
  resume.mockRestore();
  expect(released.some((one) => one.startsWith("second "))).toBe(true);
  expect(second.abort.signal.aborted).toBe(true);
  // The second gate has the request and sees its client leave: that report ends it.
  expect(reservation.cancel).not.toHaveBeenCalled();
});
