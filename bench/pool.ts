import { parseArgs } from "node:util";
import { Events } from "../sim/world/events.ts";
import type { ReplicaReport } from "../src/contract/report.ts";
import { BANDS, type Work } from "../src/routing/messages.ts";
import { Pool, type Resolved, type SavedReplica } from "../src/routing/pool.ts";

/**
 * What one pool's object spends on a request: 32 replicas with full indexes, a queue kept at some length, and for each
 * request all that its object does (acquire with its sweep, first token, end, timers, heartbeats), in real time while
 * engines run in virtual time. Prints one JSON line per length. `npm run bench:pool -- [--requests N] [--queue A,B]`
 */
const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "4000" },
    queue: { type: "string", default: "0,100,1000" },
  },
});
const requests = Number(values.requests);
if (!(requests >= 100)) throw new Error("--requests has to be 100 or more");

const REPLICAS = 32;
const CONFIG = { catalogueVersion: 1, concurrencyPerReplica: 64, tokensPerSecond: null };
const BLOCKS = 64;
const BLOCK_TOKENS = 128;
const TOKENS_PER_MS = 10;
/** Nine tenths of the cache that `report` tells of. */
const INDEX_BLOCKS = 14_000;
const ANSWER_MS = 5_000;
const BEAT_MS = 1_000;
/** Of so many the fastest counts: what else the machine does only ever adds. */
const RUNS = 3;
/** As `region-pool.ts` has it. */
const TIMER_MIN_MS = 5;
/** With an empty queue requests come that far apart: four fifths of what the engines can do. */
const GAP_MS = 20;

const OPERATIONS = ["acquire", "started", "release", "timer", "heartbeat"] as const;
type Operation = (typeof OPERATIONS)[number];

function report(id: string): ReplicaReport {
  return {
    ...{ id, models: ["m"], state: "healthy", inFlight: 0, running: 0, waiting: 0, kvCacheUsage: 0.3 },
    ...{ gpuMemoryUsage: null, bootId: "1", cacheTokens: 400_000, hostCacheTokens: 1_600_000 },
  };
}

/** From the first request on each new block drops an old one. */
function fullIndex({ id, bootId }: ReplicaReport, at: number): SavedReplica {
  const blocks = Float64Array.from({ length: INDEX_BLOCKS }, (_, block) => -1 - at * INDEX_BLOCKS - block);
  const speed = { tokens: 10_000, ms: 10_000 / TOKENS_PER_MS, baseMs: 10 };
  return {
    id,
    bootId,
    speed,
    boundTokens: INDEX_BLOCKS * BLOCK_TOKENS,
    blockTokens: BLOCK_TOKENS,
    blocks,
  };
}

/** Seven in eight prompts go on with one of the 64 before, as conversations do. */
function workOf(number: number): Work {
  const isNew = number % 8 === 0;
  const root = isNew ? number : number - (number % 8) - 8 * ((number * 7) % 8);
  const kept = isNew ? 0 : 24 + ((number * 13) % 32);
  const blocks = Array.from({ length: BLOCKS }, (_, at) => (at < kept ? root : number) * 1_000 + at);
  return {
    ...{ promptTokens: BLOCKS * BLOCK_TOKENS, outputTokens: 300, blocks, blockTokens: BLOCK_TOKENS },
    ...{ tenant: `t${number % 20}`, band: BANDS[number % 3]!, session: null, firstTokenByMs: null },
    bytes: 32_768,
  };
}

class Load {
  readonly #events = new Events();
  readonly #replicas = Array.from({ length: REPLICAS }, (_, at) => report(`r${at}`));
  readonly #pool = new Pool(this.#replicas, -1e6, { saved: this.#replicas.map(fullIndex) });
  readonly #engineFreeAtMs = new Map<string, number>();
  readonly #works = new Map<string, Work>();
  readonly #queueLength: number;
  readonly spent = new Map<Operation, { count: number; micros: number }>();
  #timerAtMs = Infinity;
  #number = 0;
  #waiting = 0;
  ended = 0;
  /** Sum over what was measured, for the mean. */
  queued = 0;

  constructor(queueLength: number) {
    this.#queueLength = queueLength;
    this.#beat();
    if (queueLength === 0) this.#arrivals();
  }

  runTo(ended: number): void {
    while (this.ended < ended) {
      this.#refill();
      this.#events.step(Infinity);
    }
  }

  forgetTimes(): void {
    this.spent.clear();
    this.queued = 0;
  }

  /** Everything that is measured goes through here, with what the object does after each call. */
  #timed(operation: Operation, call: (nowMs: number) => readonly Resolved[]): void {
    const { nowMs } = this.#events;
    const fromMs = performance.now();
    const resolved = call(nowMs);
    const next = this.#pool.nextDeadlineMs(nowMs);
    this.#pool.loadShare(nowMs);
    const spent = (performance.now() - fromMs) * 1_000;
    this.queued += this.#pool.waiting;
    const { count, micros } = this.spent.get(operation) ?? { count: 0, micros: 0 };
    this.spent.set(operation, { count: count + 1, micros: micros + spent });
    for (const { id, answer } of resolved) {
      this.#waiting -= 1;
      if (answer.kind === "granted") this.#serve(id, answer.replica);
    }
    this.#planTimer(next);
  }

  #acquire(waitMs: number): void {
    const id = `${this.#number}`;
    const work = workOf(this.#number++);
    this.#works.set(id, work);
    this.#timed("acquire", (nowMs) => {
      const swept = this.#pool.sweep(nowMs);
      const answer = this.#pool.acquire({ id, config: CONFIG, exclude: [], waitMs, work }, nowMs);
      this.#waiting += 1;
      return answer.kind === "waiting" ? swept : [...swept, { id, answer }];
    });
  }

  /** One prompt after the other, at half of its length on average, since the rest is cached. */
  #serve(id: string, replica: string): void {
    const { nowMs } = this.#events;
    const prefillMs =
      (this.#works.get(id)!.promptTokens / 2 / TOKENS_PER_MS) * (0.5 + (Number(id) % 11) / 10);
    this.#works.delete(id);
    const startedAtMs = Math.max(nowMs, this.#engineFreeAtMs.get(replica) ?? 0) + prefillMs;
    this.#engineFreeAtMs.set(replica, startedAtMs);
    this.#events.after(startedAtMs - nowMs, () => this.#timed("started", (at) => this.#pool.started(id, at)));
    this.#events.after(startedAtMs - nowMs + ANSWER_MS, () => {
      this.ended += 1;
      this.#timed("release", (at) => this.#pool.release(id, "answered", at));
    });
  }

  #refill(): void {
    for (let tries = 0; this.#waiting < this.#queueLength && tries < 40; tries++) this.#acquire(20_000);
  }

  #arrivals(): void {
    this.#acquire(20_000);
    this.#events.after(GAP_MS, () => this.#arrivals());
  }

  #beat(): void {
    const beat = { gate: "g", sequence: 1, draining: false, config: CONFIG, tallies: [] };
    this.#timed(
      "heartbeat",
      (at) => this.#pool.heartbeat({ ...beat, replicas: this.#replicas }, at).resolved,
    );
    this.#events.after(BEAT_MS, () => this.#beat());
  }

  #planTimer(next: number | null): void {
    if (next === null || next >= this.#timerAtMs) return;
    this.#timerAtMs = next;
    this.#events.after(Math.max(TIMER_MIN_MS, next - this.#events.nowMs), () => {
      if (this.#timerAtMs !== next) return;
      this.#timerAtMs = Infinity;
      this.#timed("timer", (at) => this.#pool.sweep(at));
    });
  }
}

const rounded = (micros: number) => Math.round(micros * 10) / 10;

interface Measured {
  readonly perRequestMicros: number;
  readonly line: object;
}

function measured(queueLength: number): Measured {
  const load = new Load(queueLength);
  load.runTo(requests / 2);
  load.forgetTimes();
  load.runTo(requests * 1.5);
  const spent = [...load.spent.values()];
  const each = OPERATIONS.map((operation) => {
    const { count, micros } = load.spent.get(operation) ?? { count: 1, micros: 0 };
    return [`${operation}Micros`, rounded(micros / count)];
  });
  const perRequestMicros = rounded(spent.reduce((sum, { micros }) => sum + micros, 0) / requests);
  const counts = [...load.spent].map(([operation, { count }]) => [operation, rounded(count / requests)]);
  const line = {
    queueLength,
    heldMean: Math.round(load.queued / spent.reduce((sum, { count }) => sum + count, 0)),
    ...Object.fromEntries(each),
    perRequestMicros,
    requestsPerSecond: Math.round(1e6 / perRequestMicros),
    callsPerRequest: Object.fromEntries(counts),
    replicas: REPLICAS,
  };
  return { perRequestMicros, line };
}

for (const queueLength of values.queue.split(",").map(Number)) {
  const runs = Array.from({ length: RUNS }, () => measured(queueLength));
  const best = Math.min(...runs.map(({ perRequestMicros }) => perRequestMicros));
  console.log(JSON.stringify(runs.find(({ perRequestMicros }) => perRequestMicros === best)!.line));
}
