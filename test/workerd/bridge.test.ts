import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { expect, test, vi } from "vitest";
import { FailureError } from "../../src/errors.ts";
import { bridge, type Coming, comesInTime } from "../../src/relay/bridge.ts";
import type { Exchange } from "../../src/relay/exchange.ts";
import type { Seat } from "../../src/relay/seat.ts";
import { Trace } from "../../src/telemetry/trace.ts";

/** Clients that were answered before there was an answer. What they read while a stream waits: test/e2e/pools.test.ts. */

const released: string[] = [];
const SEAT = {
  kind: "seat",
  ...{
    keep: () => undefined,
    started: () => undefined,
    release: (outcome: string) => released.push(outcome),
  },
} as unknown as Seat;
const PLAN = {
  model: { id: "m" },
  reservation: { finishEagerly: false, cancel: async () => undefined },
};
type Come = (exchange: Exchange) => Promise<Coming>;

function exchangeOf(stream: boolean, ctx: ExecutionContext): Exchange {
  return {
    ...{ ctx, call: { stream }, endpoint: { id: "chat" }, trace: new Trace("req_1", Date.now()) },
    ...{ request: new Request("http://x"), resumable: false },
    ...{ startedAtMs: Date.now(), deadlineMs: Date.now() + 60_000 },
  } as unknown as Exchange;
}

async function bridged(stream: boolean, come: Come) {
  vi.spyOn(console, "log").mockImplementation(() => undefined);
  const ctx = createExecutionContext();
  const letGo = vi.fn();
  const exchange = exchangeOf(stream, ctx);
  const headers = { "content-type": stream ? "text/event-stream" : "application/json" };
  const response = bridge(exchange, come(exchange), headers, letGo);
  const text = await response.text().catch((error: unknown) => error as Error);
  await waitOnExecutionContext(ctx);
  expect(letGo).toHaveBeenCalledOnce();
  return { response, text };
}

function answered(body: string, status = 200): Come {
  const response = new Response(body, { status, headers: { "content-type": "application/json" } });
  const kind = response.ok ? "answer" : "refused";
  const answer = { kind, response, abort: new AbortController() };
  const coming = { kind: "answered", answer, seat: SEAT, plan: PLAN, headers: {} };
  return async (exchange) => ({ ...coming, exchange }) as unknown as Coming;
}

const rejecting =
  (error: Error): Come =>
  () =>
    Promise.reject(error);

test("one JSON begins with white space and is still that JSON", async () => {
  const { response, text } = await bridged(false, answered('{"id":"chatcmpl-1"}'));
  expect(response.status).toBe(200);
  expect(text).toBe(' {"id":"chatcmpl-1"}');
  expect(JSON.parse(text as string)).toEqual({ id: "chatcmpl-1" });
  expect(released).toEqual(["answered"]);
});

test("one JSON that fails breaks off: nobody takes it for an answer", async () => {
  const failed = rejecting(new FailureError({ tag: "origin_failed", internalDetail: "x" }));
  const { text } = await bridged(false, failed);
  expect(text).toBeInstanceOf(Error);
});

test("a stream that fails ends with an error in the endpoint's form and without [DONE]", async () => {
  const failure = { tag: "no_capacity", model: "m", retryAfterMs: 900 } as const;
  const { text } = await bridged(true, rejecting(new FailureError(failure)));
  expect(text).toMatch(/^: waiting\n\n/);
  expect(text).toContain('"code":"server_is_overloaded"');
  expect(text).not.toContain("[DONE]");
});

test("an engine's refusal keeps its words and gives the seat back", async () => {
  released.length = 0;
  const refusal = JSON.stringify({ error: { message: "too long", param: "messages" } });
  const { text } = await bridged(true, answered(refusal, 400));
  expect(text).toContain('"message":"too long"');
  expect(released).toEqual(["answered"]);
});

test("a kept answer comes after the signs of life", async () => {
  const { text } = await bridged(false, async () => ({
    kind: "kept",
    response: new Response('{"id":"kept"}'),
  }));
  expect(JSON.parse(text as string)).toEqual({ id: "kept" });
});

test("what comes or fails in time is answered as it is", async () => {
  const exchange = exchangeOf(true, createExecutionContext());
  expect(await comesInTime(answered("{}")(exchange), exchange)).toBe(true);
  expect(await comesInTime(Promise.reject(new Error("x")), exchange)).toBe(true);
  const late = { ...exchange, startedAtMs: Date.now() - 3_600_000 };
  expect(await comesInTime(new Promise(() => undefined), late)).toBe(false);
});
