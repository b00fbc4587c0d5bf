import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ACQUIRE_TIMEOUT_MS, OBJECT_CALL_TIMEOUT_MS, UNREACHED_RETRY_MS } from "../../src/bounds.ts";
import type { Model } from "../../src/catalogue.ts";
import type { AcquiredStub } from "../../src/durable/stub.ts";
import { FailureError } from "../../src/errors.ts";
import type { Exchange } from "../../src/relay/exchange.ts";
import { findPlace, type Search, seatOf } from "../../src/relay/place.ts";
import { REACH } from "../../src/relay/reach.ts";
import { markTried, type Seat, type Tried } from "../../src/relay/seat.ts";
import type { AcquireAsk, Refused, Work } from "../../src/routing/messages.ts";
import { gatesOf, objectOf } from "../../src/routing/reach.ts";
import { Trace } from "../../src/telemetry/trace.ts";
import { poolAt, ranked, state } from "../unit/routing/pools.ts";

/** The order in which pools are asked, by objects that answer as they are told; nearest first: a, b, c. */

type Says = (ask: AcquireAsk, times: number) => Promise<AcquiredStub> | AcquiredStub;
const MODEL = { id: "m", version: 1 } as unknown as Model;
const POOLS = ["a", "b", "c"];
let asked: string[] = [];
let released: string[] = [];
let asks: AcquireAsk[] = [];
let run = 0;

beforeEach(() => {
  vi.useFakeTimers();
  [asked, released, asks] = [[], [], []];
  for (const pool of POOLS) for (const name of [gatesOf(pool), objectOf(pool, "m", 0)]) REACH.reached(name);
});
afterEach(() => {
  vi.useRealTimers();
});

const full: Refused = { kind: "refused", reason: "full", retryAfterMs: 500 };
const nobody: Refused = { kind: "refused", reason: "no_replica", retryAfterMs: 500 };
const refuse =
  (answer: Refused): Says =>
  () => ({ answer });
const permit = (pool: string) => ({
  started: async () => undefined,
  extend: async () => undefined,
  release: async (outcome: string) => void released.push(`${pool} ${outcome}`),
});
const grant =
  (pool: string, replica = `${pool}-0`): Says =>
  () => ({ answer: { kind: "granted", replica }, permit: permit(pool) });
const hold = (pool: string, predictedWaitMs: number, granted: () => Promise<never | Refused>): Says => {
  return () => ({ answer: { kind: "waiting", predictedWaitMs }, permit: permit(pool), wait: { granted } });
};
const never = () => new Promise<never>(() => undefined);
const silent: Says = never;

function stage(says: Record<string, Says>, tried: Tried = new Map(), more: Partial<Search> = {}) {
  const times = new Map<string, number>();
  const REGION_POOL = {
    getByName(name: string) {
      const pool = name.split("/")[0]!;
      return {
        acquire: async (ask: AcquireAsk) => {
          asked.push(pool);
          asks.push(ask);
          times.set(pool, (times.get(pool) ?? 0) + 1);
          return says[pool]!(ask, times.get(pool)!);
        },
      };
    },
  };
  run += 1;
  const nowMs = Date.now();
  const exchange = {
    ...{ env: { REGION_POOL }, ctx: { waitUntil: () => undefined }, trace: new Trace(`req_${run}`, nowMs) },
    ...{ request: { signal: new AbortController().signal }, call: { model: "m" }, asked: {} },
    ...{ terms: { id: `req_${run}`, patienceMs: 20_000 }, startedAtMs: nowMs, startByMs: nowMs + 60_000 },
  } as unknown as Exchange;
  const candidates = ranked({
    pools: [poolAt("a", 10), poolAt("b", 60), poolAt("c", 160)],
    states: POOLS.map((id) => state(id, 0)),
  });
  const work = { blocks: [], session: null, firstTokenByMs: null } as unknown as Work;
  const search: Search = { model: MODEL, candidates, tried, attempt: 0, work, mayWait: true, ...more };
  const seatAt = (pool: string, replica: string) =>
    ({ candidate: candidates.find((one) => one.pool.id === pool)!, replica }) as Seat;
  return {
    exchange,
    search,
    seatAt,
    seat: async () => seatOf(exchange, search, await findPlace(exchange, search)),
  };
}

/** As if these replicas had failed the request. */
function failed(pool: string, replicas: readonly string[], poolOut = false): Tried {
  const tried: Tried = new Map();
  const { seatAt } = stage({});
  for (const replica of replicas) markTried(tried, seatAt(pool, replica), poolOut);
  return tried;
}

test("a pool whose replicas failed the request comes after the queues of all others", async () => {
  const tried = failed("a", ["a-0", "a-1"]);
  const waiting = hold("b", 3_000, async () => ({ kind: "granted", replica: "b-0" }) as never);
  const staged = stage({ a: grant("a"), b: waiting, c: refuse(full) }, tried);
  expect((await staged.seat()).replica).toBe("b-0");
  expect(asked).not.toContain("a");
});

test("it is asked when nobody else takes the request in time", async () => {
  const tried = failed("a", ["a-0", "a-1"]);
  const { seat } = stage({ a: grant("a", "a-2"), b: refuse(full), c: refuse(full) }, tried);
  expect((await seat()).replica).toBe("a-2");
  expect(asked).toEqual(["b", "c", "a"]);
});

test("but not for a stream that is to be carried on while another pool merely lacks room", async () => {
  const tried = failed("a", ["a-0", "a-1"]);
  const more = { mayWait: false, resumes: true };
  const busy = stage({ a: grant("a"), b: refuse(full), c: refuse(nobody) }, tried, more);
  await expect(busy.seat()).rejects.toBeInstanceOf(FailureError);
  expect(asked).toEqual(["b", "c"]);
  const empty = stage({ a: grant("a", "a-2"), b: refuse(nobody), c: refuse(nobody) }, tried, more);
  expect((await empty.seat()).replica).toBe("a-2");
});

test("a pool without a gate in reach is never asked again by that request, however willing its object is", async () => {
  const tried = failed("a", ["a-0"], true);
  const { seat } = stage({ a: grant("a"), b: refuse(full), c: refuse(nobody) }, tried);
  await expect(seat()).rejects.toBeInstanceOf(FailureError);
  expect(asked).toEqual(["b", "c"]);
});

test("a pool whose gates were missed a moment ago is left to one request in a while", async () => {
  REACH.missed(gatesOf("a"), Date.now());
  const says = { a: grant("a"), b: grant("b"), c: grant("c") };
  expect((await stage(says).seat()).replica).toBe("b-0");
  await vi.advanceTimersByTimeAsync(UNREACHED_RETRY_MS);
  expect((await stage(says).seat()).replica).toBe("a-0");
  expect((await stage(says).seat()).replica).toBe("b-0");
  // Nobody is turned away for what is only remembered.
  expect((await stage({ ...says, b: refuse(full), c: refuse(full) }).seat()).replica).toBe("a-0");
});

test("an object that is silent is given up sooner where others can be asked, and done without for a while", async () => {
  const says = { a: silent, b: grant("b"), c: grant("c") };
  const first = stage(says).seat();
  await vi.advanceTimersByTimeAsync(ACQUIRE_TIMEOUT_MS);
  expect((await first).candidate.pool.id).toBe("a");
  const fromMs = Date.now();
  const others = await Promise.all([stage(says).seat(), stage(says).seat()]);
  expect(others.map(({ candidate }) => candidate.pool.id)).toEqual(["a", "a"]);
  expect(Date.now()).toBe(fromMs);
  expect(asked).toEqual(["a"]);
  await vi.advanceTimersByTimeAsync(UNREACHED_RETRY_MS);
  expect((await stage({ ...says, a: grant("a", "a-9") }).seat()).replica).toBe("a-9");
  expect(REACH.isMissed(objectOf("a", "m", 0), Date.now())).toBe(false);
});

test("the last that can be asked has all the time of a call, and a grant that comes too late is given back", async () => {
  const late = new Promise<AcquiredStub>((resolve) => {
    setTimeout(
      () => resolve(grant("c")({} as AcquireAsk, 1) as AcquiredStub),
      OBJECT_CALL_TIMEOUT_MS + 1_000,
    );
  });
  let done = false;
  const { seat } = stage({ a: refuse(full), b: refuse(full), c: () => late });
  const found = seat().finally(() => {
    done = true;
  });
  await vi.advanceTimersByTimeAsync(OBJECT_CALL_TIMEOUT_MS - 1);
  expect(done).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  expect((await found).candidate.pool.id).toBe("c");
  await vi.advanceTimersByTimeAsync(1_000);
  expect(released).toEqual(["c not_used"]);
});

test("a session that breaks while the request waits is begun anew, from its first arrival and for the rest of its time", async () => {
  const breaks = () =>
    new Promise<never>((_, reject) => setTimeout(() => reject(new Error("the object was reset")), 4_000));
  const says: Says = (ask, times) => (times === 1 ? hold("a", 10, breaks) : grant("a", "a-1"))(ask, times);
  const staged = stage({ a: says, b: refuse(full), c: refuse(full) });
  const seat = staged.seat();
  await vi.advanceTimersByTimeAsync(4_000);
  expect((await seat).replica).toBe("a-1");
  const [before, after] = asks;
  expect(after!.sinceMs).toBe(before!.sinceMs);
  expect(after!.waitMs).toBe(before!.waitMs - 4_000);
});

test("an object that breaks its session at once is asked once more, and then done without", async () => {
  const broken = () => Promise.reject(new Error("the object was reset"));
  const restarted: Says = (ask, times) => (times === 1 ? broken() : grant("a", "a-1")(ask, times));
  expect((await stage({ a: restarted, b: grant("b"), c: grant("c") }).seat()).replica).toBe("a-1");
  expect(asked).toEqual(["a", "a"]);
  const seat = await stage({ a: broken, b: grant("b"), c: grant("c") }).seat();
  expect(seat.candidate.pool.id).toBe("a");
  expect(asked).toEqual(["a", "a", "a", "a"]);
  expect(REACH.isMissed(objectOf("a", "m", 0), Date.now())).toBe(true);
});
