import { ABORT_DRAIN_MS, GATE_ANSWER_MAX_MS, REPLICA_POLL_MS, REPLICA_POLL_TIMEOUT_MS } from "../bounds.ts";
import { macKey } from "../contract/encoding.ts";
import { ReplayGuard } from "./admission.ts";
import { ByteBudget } from "./body.ts";
import { BODIES_HELD_MAX_BYTES, GONE_REPLICA_GAP_MS } from "./bounds.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { GateConfig } from "./config.ts";
import { Deaths } from "./deaths.ts";
import { type Resolve, systemResolve } from "./discovery.ts";
import { Journal } from "./journal.ts";
import { createLog, type Log } from "./log.ts";
import { Meter } from "./meter.ts";
import { Counters } from "./metrics.ts";
import { Moves } from "./moves.ts";
import { Outbox } from "./outbox.ts";
import { probe } from "./probe.ts";
import { Replicas } from "./replicas.ts";
import { CADENCE, type Cadence, httpPost, type Post, Reporter } from "./reporter.ts";
import type { RouteParts } from "./server.ts";
import { Tallies } from "./tallies.ts";
import { createEngineClient } from "./upstream.ts";

/** What a test may replace. */
export interface GateOptions {
  readonly clock?: Clock;
  readonly log?: Log;
  readonly resolve?: Resolve;
  readonly post?: Post;
  readonly random?: () => number;
  readonly answerMaxMs?: number;
  readonly abortDrainMs?: number;
  readonly cadence?: Cadence;
  readonly pollMs?: number;
}

/** A gate that does not listen yet. */
export interface GateParts extends RouteParts {
  /** Set once it takes no new requests. */
  readonly leaving: { value: boolean };
  readonly moves: Moves;
}

/** Makes the parts of a gate and joins them. Nothing runs yet. */
export async function assemble(config: GateConfig, options: GateOptions): Promise<GateParts> {
  const clock = options.clock ?? systemClock;
  const log = options.log ?? createLog((line) => process.stdout.write(line), config.quiet);
  const keys = await importKeys(config.secrets);
  const newest = Math.max(...keys.keys());
  const tallies = new Tallies();
  const meter = new Meter(tallies);
  const random = options.random ?? Math.random;
  const moves = new Moves({ meter, clock, random });
  const outbox = new Outbox(config.journal === undefined ? null : new Journal(config.journal));
  const leaving = { value: false };
  const deaths = new Deaths(config.gate, clock, () => reporter.hurry());
  const draining = () => leaving.value;

  const pollMs = options.pollMs ?? REPLICA_POLL_MS;
  const replicas = new Replicas({
    source: config.replicas,
    probe: (target) => probe(target, config.engineApiKey),
    resolve: options.resolve ?? systemResolve,
    pollMs,
    clock,
    log,
    onChange(replica) {
      moves.replica(replica.id, replica.state === "draining" ? config.drainMs : null);
      if (replica.health === "refused") meter.replicaGone(replica.id, GONE_REPLICA_GAP_MS);
      reporter.hurry();
    },
  });
  const reporter = new Reporter({
    ...{ pool: config.pool, gate: config.gate, meter, outbox, tallies, deaths, draining, clock, log },
    replicas: () => replicas.reports(),
    onDrain: (drainMs) => moves.pool(drainMs),
    post: options.post ?? httpPost(config.edgeUrl, newest, keys.get(newest)!),
    cadence: options.cadence ?? CADENCE,
    random,
  });
  return {
    ...{ replicas, meter, reporter, outbox, tallies, deaths, clock, log, leaving, draining, moves },
    admission: { pool: config.pool, keys, replays: new ReplayGuard(), clock },
    engine: createEngineClient(config.engineApiKey),
    engineApiKey: config.engineApiKey,
    bodies: new ByteBudget(BODIES_HELD_MAX_BYTES),
    counters: new Counters(),
    concurrencyPerReplica: config.concurrencyPerReplica,
    resumable: config.resumable,
    answerMaxMs: options.answerMaxMs ?? GATE_ANSWER_MAX_MS,
    abortDrainMs: options.abortDrainMs ?? ABORT_DRAIN_MS,
    lookMs: pollMs + REPLICA_POLL_TIMEOUT_MS,
  };
}

async function importKeys(secrets: GateConfig["secrets"]): Promise<Map<number, CryptoKey>> {
  const keys = new Map<number, CryptoKey>();
  for (const [version, secret] of secrets) keys.set(version, await macKey(secret));
  return keys;
}
