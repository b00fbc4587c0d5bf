import type { Call, Cast } from "../cast.ts";
import { dice, name53 } from "../hash.ts";
import { ENGINES } from "../step-engine.ts";
import { TRACE_BLOCK_TOKENS } from "../trace.ts";
import type { Seen } from "../world/request.ts";
import { World } from "../world/world.ts";
import { check, count, type Mark, quantileMs, type Report, type Scenario } from "./scenario.ts";

/** Two thousand people read their streams when the region under them dies; others ask elsewhere for the first time. */
const STREAMS = 2_000;
const STREAM = { promptTokens: 600, outputTokens: 3_000 };
const FRESH_PER_SECOND = 40;
const FRESH = { promptTokens: 1_500, outputTokens: 60 };
const STARTED_BY_MS = 20_000;
const DIES_AT_MS = 26_000;
const WATCHED_MS = 15_000;
const ENDS_AT_MS = 60_000;
/** In Paris, and in New York (see `cityOf`). */
const EUROPE = 0.1;
const AMERICA = 0.5;

export const massResume: Scenario = {
  name: "mass-resume",
  title: `Frankfurt dies under ${STREAMS.toLocaleString("en")} streams; America goes on asking`,
  async play(seed) {
    const shared = await playOnce(seed, true);
    const unshared = await playOnce(seed, false);
    const marks: Mark[] = [{ label: "Frankfurt is dead", fromMs: DIES_AT_MS, toMs: ENDS_AT_MS }];
    return {
      seen: shared.seen,
      marks,
      checks: [
        check(
          "errors before the first byte",
          count(shared.seen, ({ end }) => end === "error"),
          "≤",
          0,
        ),
        check("streams that broke off", shared.broken, "≥", STREAMS),
        check("streams carried on, share", shared.carriedOn, "≥", 0.99),
        check("p99 of new requests in America, ms", shared.p99Ms, "≤", 2_000),
      ],
      figures: {
        "p99 of new requests before it, ms": shared.calmP99Ms,
        "the same without the share for resumes, ms": unshared.p99Ms,
        "median pause, ms": shared.pauseMs,
        "median pause without the share, ms": unshared.pauseMs,
        "streams carried on without the share": unshared.carriedOn,
      },
    } satisfies Report;
  },
};

async function playOnce(seed: number, haveShare: boolean) {
  const world = new World({
    ...{ seed, cast: castOfStreams(seed), engine: ENGINES.h, replicasPerRegion: 32 },
    concurrencyPerReplica: 64,
    firstTokenTimeoutMs: 10_000,
    resumes: { haveShare },
  });
  world.at(DIES_AT_MS, () => world.region("frankfurt").die());
  const seen = await world.play();
  const fresh = seen.filter(({ call }) => call.place === AMERICA);
  const broken = seen.filter(({ brokeAtMs }) => brokeAtMs !== null);
  const pauses = broken.flatMap(({ pausedMs }) => pausedMs ?? []).sort((one, other) => one - other);
  const at = (fromMs: number, toMs: number) =>
    quantileMs(fresh.filter(({ atMs }) => atMs >= fromMs && atMs < toMs) as Seen[], 0.99);
  return {
    seen,
    broken: broken.length,
    carriedOn: pauses.length / Math.max(1, broken.length),
    pauseMs: Math.round(pauses[pauses.length >> 1] ?? 0),
    p99Ms: at(DIES_AT_MS, DIES_AT_MS + WATCHED_MS),
    calmP99Ms: at(DIES_AT_MS - WATCHED_MS, DIES_AT_MS),
  };
}

function castOfStreams(seed: number): Cast {
  const sizes: number[] = [];
  const callOf = (index: number, atMs: number, place: number, size: typeof STREAM): Call => {
    const blocks = Array.from({ length: Math.ceil(size.promptTokens / TRACE_BLOCK_TOKENS) }, (_, at) => {
      return sizes.push(Math.min(TRACE_BLOCK_TOKENS, size.promptTokens - at * TRACE_BLOCK_TOKENS)) - 1;
    });
    const full = Math.floor(size.promptTokens / TRACE_BLOCK_TOKENS);
    return {
      ...{ index, atMs, place, ...size, blocks, names: blocks.slice(0, full).map(name53) },
      ...{ estimatedTokens: size.promptTokens, session: index, tenant: `t${index % 20}`, band: "default" },
    };
  };
  const streams = Array.from({ length: STREAMS }, (_, index) => {
    return callOf(index, dice(seed, index, 8) * STARTED_BY_MS, EUROPE, STREAM);
  });
  const fresh = Array.from({ length: (FRESH_PER_SECOND * ENDS_AT_MS) / 1_000 }, (_, at) => {
    const index = STREAMS + at;
    return callOf(index, dice(seed, index, 8) * ENDS_AT_MS, AMERICA, FRESH);
  });
  const calls = [...streams, ...fresh].sort((one, other) => one.atMs - other.atMs);
  return { calls, sizes: Int32Array.from(sizes) };
}
