import { parseArgs } from "node:util";
import type { ReplicaReport } from "../src/contract/report.ts";
import { blocksOf } from "../src/routing/blocks.ts";
import type { AcquireAsk, Work } from "../src/routing/messages.ts";
import { Pool } from "../src/routing/pool.ts";

/**
 * What choosing a replica costs in CPU: naming a prompt's blocks at the edge, and one acquire with its release at a
 * pool of 32 replicas whose indexes are full. Prints one JSON line. `node bench/blocks.ts [--rounds N]`
 */
const { values } = parseArgs({ options: { rounds: { type: "string", default: "2000" } } });
const rounds = Number(values.rounds);
if (!(rounds >= 10)) throw new Error("--rounds has to be 10 or more");

const REPLICAS = 32;
const BLOCKS = 256;
const CONFIG = { catalogueVersion: 1, concurrencyPerReplica: 256, tokensPerSecond: null };

function median(samples: number[]): number {
  return samples.sort((a, b) => a - b)[samples.length >> 1]!;
}

/** Median microseconds of one call. */
function timed(call: (round: number) => void): number {
  for (let round = 0; round < rounds / 10; round++) call(round);
  const samples = Array.from({ length: rounds }, (_, round) => {
    const fromMs = performance.now();
    call(round);
    return (performance.now() - fromMs) * 1_000;
  });
  return Math.round(median(samples) * 10) / 10;
}

/** Text that is not the same twice: nobody gets it from a cache of the JavaScript engine. */
function textOf(chars: number, seed: number): string {
  let text = "";
  for (let word = seed; text.length < chars; word++) text += `${(word * 2_654_435_761) % 99_991} `;
  return text.slice(0, chars);
}

function report(id: string): ReplicaReport {
  return {
    ...{ id, models: ["m"], state: "healthy", inFlight: 0, running: 0, waiting: 0, kvCacheUsage: 0.3 },
    ...{ gpuMemoryUsage: null, bootId: "1", cacheTokens: 400_000, hostCacheTokens: 1_600_000 },
  };
}

/** Every eighth prompt goes on with one of the prompts before, as conversations do. */
function workOf(round: number): Work {
  const [root, kept] = [round % 8 === 7 ? round - 7 : round, round % 8 === 7 ? 200 : BLOCKS];
  const blocks = Array.from({ length: BLOCKS }, (_, at) => (at < kept ? root : round) * 1_000 + at);
  return {
    ...{ promptTokens: BLOCKS * 128, outputTokens: 300, blocks, blockTokens: 128, tenant: `t${round % 20}` },
    ...{ band: "default", session: null, firstTokenByMs: null, bytes: 131_072 },
  };
}

function acquireMicros(): number {
  const pool = new Pool([], -1e6);
  const replicas = Array.from({ length: REPLICAS }, (_, at) => report(`r${at}`));
  let nowMs = 0;
  let number = 0;
  const heartbeat = { gate: "g", sequence: 1, draining: false, config: CONFIG, replicas, tallies: [] };
  const one = (work: Work) => {
    if (number % 100 === 0) pool.heartbeat(heartbeat, nowMs);
    nowMs += 10;
    const ask: AcquireAsk = { id: `${number++}`, config: CONFIG, exclude: [], waitMs: 0, work };
    const fromMs = performance.now();
    const answer = pool.acquire(ask, nowMs);
    const micros = (performance.now() - fromMs) * 1_000;
    if (answer.kind !== "granted") throw new Error(`an idle pool answers ${JSON.stringify(answer)}`);
    pool.started(ask.id, nowMs);
    pool.release(ask.id, "answered", nowMs);
    return micros;
  };
  // Fills every index to its bound first: that is when each new block drops an old one.
  for (let round = 0; round < (REPLICAS * 16_384) / BLOCKS; round++) one(workOf(round));
  return (
    Math.round(median(Array.from({ length: rounds }, (_, round) => one(workOf(10_000 + round)))) * 10) / 10
  );
}

const prompt = textOf(32 * 1024, 1);
const blocksMicros = timed((round) => blocksOf([`${round}`, prompt], "salt"));
console.log(
  JSON.stringify({
    blocksOf32KiBMicros: blocksMicros,
    acquireMicros: acquireMicros(),
    replicas: REPLICAS,
    promptBlocks: BLOCKS,
    rounds,
  }),
);
