import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, type WriteStream } from "node:fs";

export interface ChildSpec {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly logFile: string;
  /** Text on its standard output that says it serves; null: it is asked over HTTP instead. */
  readonly readyText: string | null;
}

const RESTART_MIN_MS = 200;
const RESTART_MAX_MS = 5_000;
const STOP_GRACE_MS = 8_000;

/**
 * One process of the stack. It is started again when it dies by itself, as systemd would, so a killed replica, gate
 * or edge comes back on its address.
 */
export class Child {
  readonly spec: ChildSpec;
  #process: ChildProcess | null = null;
  #stopping = false;
  #restartMs = RESTART_MIN_MS;
  #restarts = 0;
  readonly #log: WriteStream;
  readonly #tell: (line: string) => void;

  constructor(spec: ChildSpec, tell: (line: string) => void) {
    this.spec = spec;
    this.#tell = tell;
    this.#log = createWriteStream(spec.logFile, { flags: "a" });
  }

  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  get restarts(): number {
    return this.#restarts;
  }

  /** Resolves when the process says that it serves; rejects with the end of its log when it dies before. */
  start(readyWithinMs: number): Promise<void> {
    const { command, args, env, cwd, readyText, name } = this.spec;
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      // The IPC channel tells Node children that the stack is gone, even when it was killed.
      stdio: readyText === null ? ["ignore", "pipe", "pipe"] : ["ignore", "pipe", "pipe", "ipc"],
      // In a group of its own: a terminal's Ctrl-C reaches the stack alone, which ends its children in order.
      detached: true,
    });
    this.#process = child;
    if (readyText === null && child.pid !== undefined) guard(child, child.pid);
    let tail = "";
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${name} is not ready after ${readyWithinMs} ms`)),
        readyWithinMs,
      );
      const settle = (result: () => void) => {
        clearTimeout(timer);
        result();
      };
      const onOutput = (chunk: Buffer) => {
        this.#log.write(chunk);
        if (tail.length < 64_000) tail += chunk.toString();
        if (readyText !== null && tail.includes(readyText)) settle(resolve);
      };
      child.stdout?.on("data", onOutput);
      child.stderr?.on("data", onOutput);
      child.once("error", (error) => settle(() => reject(error)));
      if (readyText === null) child.once("spawn", () => settle(resolve));
      child.once("exit", (code, signal) => {
        settle(() =>
          reject(
            new Error(`${name} ended (${signal ?? code}): ${tail.trim().split("\n").slice(-3).join(" | ")}`),
          ),
        );
        this.#exited(code, signal);
      });
    });
  }

  /** Ends the process: politely, then not. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    this.#stopping = true;
    const child = this.#process;
    if (child && child.exitCode === null && child.signalCode === null) {
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_GRACE_MS);
      child.kill(signal);
      await once(child, "exit");
      clearTimeout(timer);
    }
    this.#log.end();
  }

  /** Kills the process and lets it come back by itself. */
  kill(signal: NodeJS.Signals = "SIGKILL"): void {
    this.#process?.kill(signal);
  }

  #exited(code: number | null, signal: NodeJS.Signals | null): void {
    if (this.#stopping) return;
    this.#restarts += 1;
    this.#tell(`${this.spec.name} ended (${signal ?? `status ${code}`}); starting it again`);
    setTimeout(() => {
      if (this.#stopping) return;
      this.start(30_000).then(
        () => {
          this.#restartMs = RESTART_MIN_MS;
        },
        () => {
          this.#restartMs = Math.min(this.#restartMs * 2, RESTART_MAX_MS);
        },
      );
    }, this.#restartMs);
  }
}

/**
 * Ends a process that knows nothing of IPC when this program is gone, however it ended: a pipe closes with its last
 * writer, and the guard waits for just that.
 */
function guard(child: ChildProcess, pid: number): void {
  const watch = spawn("sh", ["-c", `read -r _; kill -KILL ${pid}`], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  // Without a shell there is no guard, and nothing else is lost.
  watch.on("error", () => undefined);
  // Gone before the process id may be given to another.
  child.once("exit", () => watch.kill("SIGKILL"));
}
