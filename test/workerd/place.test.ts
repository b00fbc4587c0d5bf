import { abortAllDurableObjects, createExecutionContext } from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import { expect, test } from "vitest";
import type { Model } from "../../src/catalogue.ts";
import { regionPool } from "../../src/durable/stub.ts";
import type { Env } from "../../src/env.ts";
import type { Exchange } from "../../src/relay/exchange.ts";
import { findPlace, type Search, seatOf } from "../../src/relay/place.ts";
import type { Work } from "../../src/routing/messages.ts";
import { Trace } from "../../src/telemetry/trace.ts";
import { poolAt, ranked } from "../unit/routing/pools.ts";

/** An edge at real objects of pools. In which order it asks them: test/workerd/asking.test.ts. */

const env = bindings as unknown as Env;
const MODEL = { id: "m", version: 1 } as unknown as Model;

async function pool() {
  const id = `pool-${crypto.randomUUID().slice(0, 8)}`;
  let sequence = 0;
  const beat = (replicas: readonly string[]) =>
    regionPool(env, id, "enam", "m").heartbeat({
      ...{ gate: "g", sequence: ++sequence, draining: false, tallies: [] },
      config: { catalogueVersion: 1, concurrencyPerReplica: 1, tokensPerSecond: null },
      replicas: replicas.map((replica) => ({
        ...{ id: replica, models: ["m"], state: "healthy", inFlight: 0, running: 0, waiting: 0 },
        ...{ kvCacheUsage: 0, gpuMemoryUsage: null, bootId: "1" },
      })),
    });
  const candidates = ranked({
    pools: [poolAt(id, 10, { models: [{ model: "m", concurrencyPerReplica: 1 }] })],
  });
  let requests = 0;
  const request = () => {
    const terms = { id: `req_${id}_${++requests}`, patienceMs: 20_000 };
    const nowMs = Date.now();
    const exchange = {
      ...{ env, ctx: createExecutionContext(), trace: new Trace(terms.id, nowMs), terms, asked: {} },
      ...{ request: new Request("http://x"), call: { model: "m" } },
      ...{ startedAtMs: nowMs, startByMs: nowMs + 60_000 },
    } as unknown as Exchange;
    const work: Work = {
      ...{ promptTokens: 10, outputTokens: 10, blocks: [], blockTokens: 128, tenant: "t", band: "default" },
      ...{ session: null, firstTokenByMs: null, bytes: 0 },
    };
    const tried: Search["tried"] = new Map();
    const search: Search = { model: MODEL, candidates, tried, attempt: 0, work, mayWait: true };
    return { exchange, search };
  };
  await beat(["r0"]);
  return { id, beat, request, state: () => regionPool(env, id, "enam", "m").state() };
}

test("who waits while the pool's object restarts waits on there, and is served", async () => {
  const { beat, request, state } = await pool();
  const [one, other] = [request(), request()];
  const first = await findPlace(one.exchange, one.search);
  expect(first).toMatchObject({ kind: "seat", replica: "r0" });
  const place = await findPlace(other.exchange, other.search);
  expect(place.kind).toBe("place");
  const waiting = seatOf(other.exchange, other.search, place);
  await abortAllDurableObjects();
  const seat = await waiting;
  // Its permit is one that the object's next life knows of: no replica was picked without it.
  expect(seat.replica).toBe("r0");
  await beat(["r0"]);
  expect(await state()).toMatchObject({ inUse: 1, waiting: 0 });
  seat.release("answered");
  await expect.poll(async () => (await state()).inUse).toBe(0);
});
