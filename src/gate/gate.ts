import { createServer, type Server } from "node:http";
import { type AddressInfo, isIPv6 } from "node:net";
import { ABORT_DRAIN_MS, GATE_ANSWER_MAX_MS } from "../bounds.ts";
import { macKey } from "../contract/encoding.ts";
import { ReplayGuard } from "./admission.ts";
import { ByteBudget } from "./body.ts";
import {
  BODIES_HELD_MAX_BYTES,
  CONNECTIONS_MAX,
  EDGE_IDLE_SOCKET_MS,
  EDGE_PROBE_MS,
  GONE_REPLICA_GAP_MS,
  LAST_REPORTS_MS,
  REPLAY_WINDOW_MS,
} from "./bounds.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { GateConfig } from "./config.ts";
import { type Resolve, systemResolve } from "./discovery.ts";
import { createLog, type Log } from "./log.ts";
import { Meter } from "./meter.ts";
import { Counters } from "./metrics.ts";
import { Outbox } from "./outbox.ts";
import { probe } from "./probe.ts";
import { Replicas } from "./replicas.ts";
import { httpPost, type Post, Reporter } from "./reporter.ts";
import type { ServeParts } from "./serve.ts";
import { route } from "./server.ts";
import { Tallies } from "./tallies.ts";
import { createEngineClient } from "./upstream.ts";

export interface Gate {
  readonly url: string;
  /** Requests that are not settled yet. */
  readonly open: number;
  /** Takes nothing new, lets streams finish for at most the configured time, delivers the last reports, closes. */
  drain(): Promise<void>;
  /** Ends a drain's waiting: what still runs is ended now. */
  hasten(): void;
  /** Closes at once; nothing is delivered. */
  close(): Promise<void>;
}

/** What a test may replace. */
export interface GateOptions {
  readonly clock?: Clock;
  readonly log?: Log;
  readonly resolve?: Resolve;
  readonly post?: Post;
  readonly random?: () => number;
  readonly answerMaxMs?: number;
  readonly abortDrainMs?: number;
}

/** Puts a gate together and starts it. Resolves when it listens and has looked at its replicas once. */
export async function startGate(config: GateConfig, options: GateOptions = {}): Promise<Gate> {
  const clock = options.clock ?? systemClock;
  const log = options.log ?? createLog((line) => process.stdout.write(line), config.quiet);
  const keys = await importKeys(config.secrets);
  const newest = Math.max(...keys.keys());
  const tallies = new Tallies();
  const meter = new Meter(tallies);
  const outbox = new Outbox();
  const counters = new Counters();
  const engine = createEngineClient(config.engineApiKey);
  let draining = false;

  const replicas = new Replicas({
    source: config.replicas,
    probe: (target) => probe(target, config.engineApiKey),
    resolve: options.resolve ?? systemResolve,
    clock,
    log,
    onChange(replica) {
      if (replica.health === "refused") meter.replicaGone(replica.id, GONE_REPLICA_GAP_MS);
      reporter.hurry();
    },
  });
  const reporter = new Reporter({
    pool: config.pool,
    gate: config.gate,
    meter,
    outbox,
    tallies,
    replicas: () => replicas.reports(),
    draining: () => draining,
    post: options.post ?? httpPost(config.edgeUrl, newest, keys.get(newest)!),
    clock,
    random: options.random ?? Math.random,
    log,
  });
  const serving: ServeParts = {
    admission: { pool: config.pool, keys, replays: new ReplayGuard(), clock },
    engine,
    engineApiKey: config.engineApiKey,
    bodies: new ByteBudget(BODIES_HELD_MAX_BYTES),
    replicas,
    meter,
    reporter,
    tallies,
    counters,
    clock,
    log,
    concurrencyPerReplica: config.concurrencyPerReplica,
    resumable: config.resumable,
    answerMaxMs: options.answerMaxMs ?? GATE_ANSWER_MAX_MS,
    abortDrainMs: options.abortDrainMs ?? ABORT_DRAIN_MS,
    draining: () => draining,
  };

  await replicas.start();
  const server = createServer(
    { keepAlive: true, keepAliveInitialDelay: EDGE_PROBE_MS },
    route({ ...serving, outbox }),
  );
  server.keepAliveTimeout = EDGE_IDLE_SOCKET_MS;
  // Whoever has no order gets no longer for sending a body than those who have one.
  server.requestTimeout = REPLAY_WINDOW_MS;
  server.maxConnections = CONNECTIONS_MAX;
  await listen(server, config.listen);
  reporter.wake();

  const stopAll = async () => {
    replicas.close();
    reporter.close();
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
    engine.close();
  };
  const hasten = new AbortController();
  return {
    url: urlOf(server.address() as AddressInfo),
    get open() {
      return meter.open;
    },
    hasten: () => hasten.abort(),
    close: stopAll,
    async drain() {
      draining = true;
      log.info("draining", { open: meter.open });
      reporter.hurry();
      await waitUntil(() => meter.open === 0, config.drainMs, hasten.signal);
      meter.giveUpAll();
      await waitUntil(() => meter.open === 0, serving.abortDrainMs, null);
      await bounded(reporter.delivered(), LAST_REPORTS_MS);
      log.info("drained", { undelivered: outbox.backlog });
      await stopAll();
    },
  };
}

async function importKeys(secrets: GateConfig["secrets"]): Promise<Map<number, CryptoKey>> {
  const keys = new Map<number, CryptoKey>();
  for (const [version, secret] of secrets) keys.set(version, await macKey(secret));
  return keys;
}

/** Rejects when the address cannot be had. */
function listen(server: Server, { host, port }: GateConfig["listen"]): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function urlOf({ address, port }: AddressInfo): string {
  return `http://${isIPv6(address) ? `[${address}]` : address}:${port}`;
}

const LOOK_EVERY_MS = 20;

async function waitUntil(done: () => boolean, maxMs: number, hasten: AbortSignal | null): Promise<void> {
  const endsAtMs = performance.now() + maxMs;
  while (!done() && performance.now() < endsAtMs && !hasten?.aborted) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

function bounded(wait: Promise<void>, maxMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, maxMs);
    void wait.then(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
