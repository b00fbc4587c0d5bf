import { request } from "node:http";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { BODY_MAX_BYTES } from "../../../src/bounds.ts";
import { fromBase64Url, macKey, toBase64Url } from "../../../src/contract/encoding.ts";
import { type OriginOrder, signOrder } from "../../../src/contract/origin-token.ts";
import { ENDPOINTS } from "../../../src/engine/endpoints.ts";
import { ReplayGuard } from "../../../src/gate/admission.ts";
import { REPLAY_WINDOW_MS } from "../../../src/gate/bounds.ts";
import { chatThen } from "../../support/gate-engine.ts";
import { type CallOptions, eventually, orderOf, type Rig, SECRET, startRig } from "../../support/gate-rig.ts";

const BODY = { model: "m", messages: [{ role: "user", content: "hi" }], stream: true };
let rig: Rig;
beforeEach(async () => {
  rig = await startRig({ concurrencyPerReplica: 2 }, { abortDrainMs: 150 });
});
afterEach(() => rig.close());

async function statusOf(order: Partial<OriginOrder>, options: CallOptions = {}): Promise<number | undefined> {
  const call = await rig.call(BODY, order, options);
  const head = await call.head;
  const { text } = await call.rest;
  if (head.statusCode === 401 || head.statusCode === 403) {
    expect(JSON.parse(text).error.message).toBe("Not authorized.");
    expect(text.length).toBeLessThan(150);
  }
  return head.statusCode;
}

describe("an order is taken only if it is", () => {
  test("there at all", async () => {
    expect(await statusOf({}, { token: null })).toBe(401);
    expect(await statusOf({}, { token: "" })).toBe(401);
    expect(await statusOf({}, { token: "a.b" })).toBe(401);
    expect(await statusOf({}, { token: "a.b.c" })).toBe(401);
  });

  test("signed with a secret of this pool", async () => {
    const order = orderOf();
    const token = await signOrder(order, await macKey("another secret of sixteen characters"));
    expect(await statusOf(order, { token })).toBe(401);
    expect(await statusOf({ secretVersion: 2 })).toBe(401);
  });

  test("unchanged since", async () => {
    const order = orderOf();
    const [payload, signature] = (await signOrder(order, await macKey(SECRET))).split(".");
    const json = new TextDecoder().decode(fromBase64Url(payload!)).replace('"r0"', '"r1"');
    const changed = toBase64Url(new TextEncoder().encode(json));
    expect(await statusOf(order, { token: `${changed}.${signature}` })).toBe(401);
  });

  test("still valid, and not from the future", async () => {
    expect(await statusOf({ startByMs: Date.now() - 1 })).toBe(401);
    expect(await statusOf({ startByMs: Date.now() + 10 * 60_000 })).toBe(401);
  });

  test("for this pool", async () => {
    expect(await statusOf({ pool: "eu-west" })).toBe(403);
  });

  test("for this path", async () => {
    expect(await statusOf({ path: "/v1/completions" }, { path: "/v1/chat/completions" })).toBe(403);
  });

  test("new: a second time it is refused, the next attempt is not", async () => {
    const order = orderOf();
    expect(await statusOf(order)).toBe(200);
    expect(await statusOf(order)).toBe(401);
    expect(await statusOf({ ...order, attempt: 1 })).toBe(200);
    expect(rig.engine.seen).toHaveLength(2);
  });

  test("well formed, however well it is signed", async () => {
    expect(await statusOf({ requestId: "a\r\nx-evil: 1" })).toBe(401);
    expect(await statusOf({ ticket: "t".repeat(3_000) })).toBe(401);
    expect(await statusOf({ tokenGapTimeoutMs: 0 })).toBe(401);
  });

  test("and none of that reached the engine or the bill", async () => {
    await statusOf({ pool: "eu-west" });
    expect(rig.engine.seen).toHaveLength(0);
    expect(rig.edge.finals()).toHaveLength(0);
  });
});

describe("what there is no room for goes elsewhere", () => {
  test("an unknown replica", async () => {
    const call = await rig.call(BODY, { replica: "r9" });
    const { statusCode, headers } = await call.head;
    expect([statusCode, headers["x-meridian-retryable"]]).toEqual([502, "yes"]);
  });

  test("a replica that is down", async () => {
    await rig.engine.refuse();
    rig.engine.script = (res) => void res.destroy();
    const call = await rig.call(BODY);
    const { headers } = await call.head;
    expect(headers).toMatchObject({ "x-meridian-retryable": "yes", "x-meridian-outcome": "failed" });
  });

  test("more than the cap of a replica", async () => {
    rig.engine.script = chatThen(1, () => new Promise(() => {}));
    const running = await Promise.all([rig.call(BODY), rig.call(BODY)]);
    await Promise.all(running.map((call) => call.head));
    const third = await rig.call(BODY);
    const { statusCode, headers } = await third.head;
    expect(statusCode).toBe(503);
    expect(headers).toMatchObject({ "x-meridian-retryable": "yes", "x-meridian-outcome": "overloaded" });
    expect(rig.engine.seen).toHaveLength(2);
    for (const call of running) call.leave();
    await eventually(() => rig.gate.open === 0);
    rig.engine.script = chatThen(1, (res) => void res.end());
    expect((await (await rig.call(BODY)).head).statusCode).toBe(200);
  });
});

describe("the body", () => {
  test("must be a JSON object, and a bad one is billed as refused", async () => {
    for (const body of ["{", "[]", '"text"', "null", ""]) {
      const call = await rig.call(body);
      expect((await call.head).statusCode).toBe(400);
      expect(await rig.final(call.order)).toMatchObject({ outcome: "refused", usage: { promptTokens: 0 } });
    }
  });

  test("that no edge can have accepted costs nothing, and keeps no place", async () => {
    for (let attempt = 0; attempt < 3; attempt++) {
      const call = await rig.call({ ...BODY, n: 0 });
      const { statusCode, headers } = await call.head;
      expect([statusCode, headers["x-meridian-retryable"]]).toEqual([502, "no"]);
    }
    expect((await (await rig.call(BODY)).head).statusCode).toBe(200);
  });

  test("must not be larger than the bound, said or unsaid", async () => {
    const call = await rig.call(`{"x":"${"y".repeat(BODY_MAX_BYTES)}"}`);
    expect((await call.head).statusCode).toBe(413);
    const order = orderOf();
    const token = await signOrder(order, await macKey(SECRET));
    const status = await new Promise((resolve) => {
      const req = request(`${rig.gate.url}${order.path}`, {
        method: "POST",
        headers: { "x-meridian-token": token, "transfer-encoding": "chunked" },
      });
      req.on("response", (res) => resolve(res.statusCode));
      req.on("error", () => {});
      for (let sent = 0; sent <= BODY_MAX_BYTES; sent += 1024 * 1024) req.write(" ".repeat(1024 * 1024));
    });
    expect(status).toBe(413);
  });

  test("that never ends is given up when the order's time to start is over", async () => {
    const order = orderOf({ startByMs: Date.now() + 500 });
    const token = await signOrder(order, await macKey(SECRET));
    const ended = await new Promise((resolve) => {
      const req = request(`${rig.gate.url}${order.path}`, {
        method: "POST",
        headers: { "x-meridian-token": token, "content-length": 1_000 },
      });
      req.on("error", () => resolve("closed"));
      req.write("{");
    });
    expect(ended).toBe("closed");
    expect(await rig.final(order)).toMatchObject({ outcome: "client_gone", usage: { promptTokens: 0 } });
  });
});

describe("the surface", () => {
  test("engines' other routes do not exist", async () => {
    for (const path of ["/invocations", "/v1/models", "/tokenize2", "/", "/v1/chat/completions/", "/docs"]) {
      expect(await statusOf({}, { path })).toBe(404);
    }
    expect(await statusOf({}, { path: "/v1/chat/completions?x=1" })).toBe(404);
    expect(await statusOf({}, { method: "GET" })).toBe(404);
    expect(rig.engine.seen).toHaveLength(0);
  });

  test("every endpoint of the data plane is there", async () => {
    for (const { path } of ENDPOINTS) expect(await statusOf({}, { path, token: null })).toBe(401);
  });

  test("health and metrics tell no secret", async () => {
    const health = await fetch(`${rig.gate.url}/health`);
    expect(health.status).toBe(200);
    expect(await health.json()).toEqual({
      status: "ok",
      open: 0,
      replicas: [{ id: "r0", state: "healthy", inFlight: 0 }],
    });
    await (await rig.call(BODY)).rest;
    await eventually(() => rig.gate.open === 0);
    const metrics = await (await fetch(`${rig.gate.url}/metrics`)).text();
    expect(metrics).toContain('meridian_gate_requests_ended_total{outcome="complete"} 1\n');
    expect(metrics).toContain('meridian_gate_tokens_total{kind="output"} 3\n');
    expect(metrics).toContain('meridian_gate_replica_state{replica="r0",state="healthy"} 1\n');
    expect(metrics).not.toContain(SECRET);
    for (const line of metrics.trimEnd().split("\n")) {
      expect(line).toMatch(/^(# (HELP|TYPE) |meridian_gate_[a-z_]+(\{[^}]*\})? [\d.e+-]+$)/);
    }
  });
});

describe("ReplayGuard", () => {
  test("remembers for as long as a token can be valid, and forgets after that", () => {
    const guard = new ReplayGuard();
    const order = orderOf();
    expect(guard.claim(order, 1_000_000)).toBe(true);
    expect(guard.claim(order, 1_000_000 + REPLAY_WINDOW_MS)).toBe(false);
    expect(guard.claim(order, 1_000_000 + 3 * REPLAY_WINDOW_MS)).toBe(true);
  });

  test("remembers an order of the end of a window through all of its validity", () => {
    const guard = new ReplayGuard();
    guard.claim(orderOf(), 1_000_000);
    const late = orderOf();
    expect(guard.claim(late, 1_000_000 + REPLAY_WINDOW_MS - 1)).toBe(true);
    expect(guard.claim(late, 1_000_000 + 2 * REPLAY_WINDOW_MS - 2)).toBe(false);
  });
});
