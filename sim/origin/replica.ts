/** One simulated vLLM server: engine, faults, ledger and listener. */
import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { sendJson } from "./api/http.ts";
import { applyFaults } from "./control.ts";
import { Engine } from "./engine/engine.ts";
import { EngineLoop } from "./engine/loop.ts";
import { FaultBoard, type FaultSet } from "./faults.ts";
import { Ledger } from "./ledger.ts";
import { Metrics } from "./metrics.ts";
import { completeOptions, type ReplicaOptions } from "./options.ts";
import { route } from "./routes.ts";
import type { Site } from "./site.ts";

export type Replica = {
  readonly url: string;
  readonly options: ReplicaOptions;
  readonly ledger: Ledger;
  /** As `POST /_sim/faults`. */
  setFaults(faults: FaultSet): void;
  /** As vLLM on SIGTERM: new chats get 500, open answers may run for `shutdownTimeoutS`; then everything ends. */
  shutdown(): Promise<void>;
  /** Closes everything at once. */
  close(): Promise<void>;
};

/** uvicorn closes an idle connection after five seconds. */
const KEEP_ALIVE_MS = 5_000;
const DRAIN_POLL_MS = 20;
/** What the last events need to leave before their connections are closed. */
const FLUSH_MS = 50;

/** Starts a replica. `onDie` runs instead of closing everything, where the process itself should go. */
export async function startReplica(
  given: Partial<ReplicaOptions> = {},
  onDie?: () => void,
): Promise<Replica> {
  const options = completeOptions(given);
  const sockets = new Set<Socket>();
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS });
  let port = options.port;
  let comeback: NodeJS.Timeout | undefined;

  const goDown = (backAfterMs?: number): void => {
    clearTimeout(comeback);
    // Said by the ledger to have failed, and not taken for clients that left.
    for (const answer of [...site.answers]) answer.fail("cut");
    server.close();
    for (const socket of sockets) socket.destroy();
    if (backAfterMs === undefined) return;
    comeback = setTimeout(() => void listen(server, port, options.host), backAfterMs);
  };
  const site: Site = {
    options,
    board: new FaultBoard(),
    ledger: new Ledger(options.id, undefined, options.ledgerTimes),
    answers: new Set(),
    draining: false,
    ...newEngine(options),
    die: onDie ?? (() => goDown()),
    restart(ms) {
      goDown(ms);
      site.loop.close();
      // A new process is neither frozen nor slow.
      for (const cured of ["freeze", "slow"] as const) site.board.clear(cured);
      Object.assign(site, newEngine(options));
    },
    closeListener: goDown,
  };
  serve(server, site, sockets);
  port = await listen(server, port, options.host);

  const close = async (): Promise<void> => {
    goDown();
    site.loop.close();
  };
  return {
    url: `http://${options.host}:${port}`,
    options,
    ledger: site.ledger,
    setFaults: (faults) => applyFaults(site, faults),
    close,
    async shutdown() {
      site.draining = true;
      const deadlineMs = performance.now() + options.shutdownTimeoutS * 1000;
      while (site.answers.size > 0 && performance.now() < deadlineMs) await sleep(DRAIN_POLL_MS);
      server.close();
      if (site.board.peek("hangOnShutdown") !== undefined) {
        site.loop.freeze(true);
        while (site.answers.size > 0) await sleep(DRAIN_POLL_MS);
      }
      for (const answer of [...site.answers]) answer.fail("engineError");
      await sleep(FLUSH_MS);
      await close();
    },
  };
}

function newEngine(options: ReplicaOptions): { loop: EngineLoop; metrics: Metrics } {
  const metrics = new Metrics(options);
  const observe: ConstructorParameters<typeof EngineLoop>[2] = (engine, step) =>
    metrics.observe(engine, step);
  return { metrics, loop: new EngineLoop(new Engine(options.engine), options.speed, observe) };
}

function serve(server: Server, site: Site, sockets: Set<Socket>): void {
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
  });
  server.on("request", (req, res) => {
    // Node reports a client that leaves as an error of the request.
    req.on("error", () => {});
    // uvicorn says `connection: close` where the client did, and else nothing; Node would say `keep-alive`.
    if (req.headers.connection?.toLowerCase() === "close") res.setHeader("connection", "close");
    else res.removeHeader("connection");
    res.setHeader("server", "uvicorn");
    res.setHeader("vary", "Origin");
    route(site, req, res).catch((error: unknown) => {
      // The client is gone: what failed is only the talking to it.
      if (res.destroyed) return;
      console.error(error);
      sendJson(res, 500, {
        error: { message: String(error), type: "InternalServerError", param: null, code: 500 },
      });
    });
  });
}

function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}
