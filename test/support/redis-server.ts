import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Reply, RespConnection, RespError } from "./redis-resp.ts";

/** False where there is no `redis-server`. */
export const HAS_REDIS = spawnSync("redis-server", ["--version"]).status === 0;
/** Ends the name of a test that is skipped without it. */
export const NEEDS_REDIS = HAS_REDIS ? "" : " (skipped: needs redis-server, 'apt-get install redis-server')";

/** Capitalized for a port, and not for a socket. */
const READY = /ready to accept connections/i;

/** A real Redis with nothing in it, behind a Unix socket, so that tests side by side never meet on a port. */
export class RedisServer {
  readonly #folder = mkdtempSync(join(tmpdir(), "meridian-redis-"));
  #process: ChildProcess | null = null;

  get socketPath(): string {
    return join(this.#folder, "redis.sock");
  }

  async start(): Promise<void> {
    const quiet = ["--save", "", "--appendonly", "no", "--dir", this.#folder];
    const args = ["--port", "0", "--unixsocket", this.socketPath, ...quiet];
    const child = spawn("redis-server", args, { stdio: ["ignore", "pipe", "inherit"] });
    this.#process = child;
    // Also when a test run ends before its tests clean up.
    process.once("exit", () => child.kill("SIGKILL"));
    let log = "";
    await new Promise<void>((resolve, reject) => {
      child.stdout.on("data", (chunk: Buffer) => {
        log += chunk.toString();
        if (READY.test(log)) resolve();
      });
      child.once("error", reject);
      child.once("exit", () => reject(new Error(`redis-server ended: ${log}`)));
    });
  }

  /** Ends it as a crash would; what it held is lost. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  async end(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** One command on a connection of its own. Rejects with Redis' own error. */
  async command(...args: readonly (string | number)[]): Promise<Reply> {
    const connection = await RespConnection.open(this.socketPath);
    const reply = await connection.send(args).finally(() => connection.close());
    if (reply instanceof RespError) throw reply;
    return reply;
  }
}
