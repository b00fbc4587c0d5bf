import { createServer, type Server } from "node:http";
import { type AddressInfo, isIPv6 } from "node:net";
import { assemble, type GateOptions, type GateParts } from "./assemble.ts";
import {
  CONNECTIONS_MAX,
  EDGE_IDLE_SOCKET_MS,
  EDGE_PROBE_MS,
  LAST_REPORTS_MS,
  REPLAY_WINDOW_MS,
  TOKENIZE_TIMEOUT_MS,
} from "./bounds.ts";
import type { GateConfig } from "./config.ts";
import { route } from "./server.ts";

export type { GateOptions } from "./assemble.ts";

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

/** Puts a gate together and starts it. Resolves when it listens and has looked at its replicas once. */
export async function startGate(config: GateConfig, options: GateOptions = {}): Promise<Gate> {
  const parts = await assemble(config, options);
  const { meter, engine, replicas, reporter, moves } = parts;
  await replicas.start();
  const server = createServer({ keepAlive: true, keepAliveInitialDelay: EDGE_PROBE_MS }, route(parts));
  server.keepAliveTimeout = EDGE_IDLE_SOCKET_MS;
  // Whoever has no order gets no longer for sending a body than those who have one.
  server.requestTimeout = REPLAY_WINDOW_MS;
  server.maxConnections = CONNECTIONS_MAX;
  await listen(server, config.listen);
  reporter.wake();

  const close = async () => {
    replicas.close();
    reporter.close();
    moves.close();
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
    close,
    async drain() {
      await finish(parts, config.drainMs, hasten.signal);
      await close();
    },
  };
}

/** Everything that a gate still has to do once it takes nothing new. */
async function finish(parts: GateParts, drainMs: number, hasten: AbortSignal): Promise<void> {
  const { meter, reporter, outbox, log, abortDrainMs, moves } = parts;
  parts.leaving.value = true;
  moves.gate(drainMs);
  log.info("draining", { open: meter.open });
  reporter.hurry();
  await waitUntil(() => meter.open === 0, drainMs, hasten);
  meter.giveUpAll();
  await waitUntil(() => meter.open === 0, abortDrainMs + TOKENIZE_TIMEOUT_MS, null);
  await bounded(reporter.delivered(), LAST_REPORTS_MS);
  log.info("drained", { undelivered: outbox.backlog });
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
