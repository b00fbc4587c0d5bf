import { type ChildProcess, spawn } from "node:child_process";
import { openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { CHAT_CONTEXT_TOKENS, CHAT_MODEL, EMBED_MODEL, type Layout } from "./layout.ts";
import { groupMembers, signalGroup } from "./processes.ts";

const READY_TIMEOUT_MS = 300_000;
const POLL_MS = 250;
/** What the engine gets once the API process has ended: it does not end itself when that one was killed. */
const ORPHAN_GRACE_MS = 3000;
const KILL_TIMEOUT_MS = 10_000;
/** Above any --shutdown-timeout that we use. */
export const STOP_GRACE_MS = 30_000;
const LOG_TAIL_LINES = 20;
const KV_CACHE_GIB = 1;
/** What a shell reports for a process ended by Ctrl-C: 128 + SIGINT. */
const INTERRUPTED_STATUS = 130;
export const HOST = "127.0.0.1";

export interface ServeOptions {
  layout: Layout;
  port: number;
  /** Which model; a vLLM process serves one, and either generates or embeds. */
  model: "chat" | "embed";
  /** More arguments for `vllm serve`; later ones win over ours. */
  args: string[];
  /** A file for vLLM's own output; inherited from this process when absent. */
  log?: string;
}

/** A started vLLM: the API process leads a process group that holds the engine and the worker. */
export interface VllmServer {
  baseUrl: string;
  port: number;
  pid: number;
  process: ChildProcess;
  /** Resolves when the API process has ended. */
  ended: Promise<void>;
}

/**
 * Starts `vllm serve` in a process group of its own, so that a Ctrl-C in the terminal reaches only us, and the
 * whole group can be ended. Does not wait until it answers.
 * @throws Error when the port is taken: /health of whatever holds it would pass for ours.
 */
export async function startServer(options: ServeOptions): Promise<VllmServer> {
  const { layout, port } = options;
  await assertFree(port);
  const output = options.log === undefined ? ("inherit" as const) : openSync(options.log, "w");
  const child = spawn(layout.vllm, serveArguments(options), {
    cwd: layout.dir,
    detached: true,
    stdio: ["ignore", output, output],
    env: {
      ...process.env,
      HF_HUB_OFFLINE: "1",
      TRANSFORMERS_OFFLINE: "1",
      VLLM_NO_USAGE_STATS: "1",
      VLLM_CPU_KVCACHE_SPACE: String(KV_CACHE_GIB),
    },
  });
  if (child.pid === undefined) throw new Error(`${layout.vllm} could not be started`);
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  return { baseUrl: `http://${HOST}:${port}`, port, pid: child.pid, process: child, ended };
}

function assertFree(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error) => reject(new Error(`port ${port} cannot be used: ${error.message}`)));
    server.listen(port, HOST, () => server.close(() => resolve()));
  });
}

function serveArguments({ layout, port, model, args }: ServeOptions): string[] {
  const which =
    model === "chat"
      ? [layout.chatModel, "--served-model-name", CHAT_MODEL, "--max-model-len", String(CHAT_CONTEXT_TOKENS)]
      : [layout.embedModel, "--served-model-name", EMBED_MODEL, "--runner", "pooling"];
  // float32: without AVX-512 bfloat16 is no faster, and greedy answers are steadier. Eager: compiling takes longer
  // than any test runs.
  return [
    "serve",
    ...which,
    "--host",
    HOST,
    "--port",
    String(port),
    "--dtype",
    "float32",
    "--enforce-eager",
    ...args,
  ];
}

/**
 * Waits until /health answers 200.
 * @throws Error when the process ends first or 5 minutes have passed; with the end of the log, if there is one.
 */
export async function waitReady(server: VllmServer, log?: string): Promise<void> {
  const deadlineMs = Date.now() + READY_TIMEOUT_MS;
  while (Date.now() < deadlineMs) {
    if (server.process.exitCode !== null || server.process.signalCode !== null) break;
    const healthy = await fetch(`${server.baseUrl}/health`).then(
      (response) => response.ok,
      () => false,
    );
    if (healthy) return;
    await sleep(POLL_MS);
  }
  const tail = log === undefined ? "" : `:\n${await lastLines(log)}`;
  throw new Error(`vLLM did not become ready on port ${server.port}${tail}`);
}

export async function lastLines(path: string): Promise<string> {
  return (await readFile(path, "utf8")).trimEnd().split("\n").slice(-LOG_TAIL_LINES).join("\n");
}

/**
 * Ends vLLM: SIGTERM to the API process, which then stops its children; after `graceMs` SIGKILL to the group.
 * Resolves when no process of the group is left.
 */
export async function stopServer(server: VllmServer, graceMs: number): Promise<void> {
  server.process.kill("SIGTERM");
  let deadlineMs = Date.now() + graceMs;
  void server.ended.then(() => {
    deadlineMs = Math.min(deadlineMs, Date.now() + ORPHAN_GRACE_MS);
  });
  while (groupMembers(server.pid).length > 0 && Date.now() < deadlineMs) await sleep(POLL_MS);
  await killServer(server);
}

/** Sends a signal to all processes of a vLLM, and waits for nothing. */
export function signalServer(server: VllmServer, signal: NodeJS.Signals): void {
  signalGroup(server.pid, signal);
}

/** Ends vLLM at once, and what its engine may have left behind. */
export async function killServer(server: VllmServer): Promise<void> {
  signalGroup(server.pid, "SIGKILL");
  const deadlineMs = Date.now() + KILL_TIMEOUT_MS;
  while (groupMembers(server.pid).length > 0) {
    if (Date.now() > deadlineMs) throw new Error(`processes of group ${server.pid} outlive SIGKILL`);
    await sleep(POLL_MS);
  }
}

/** Process id of the part of vLLM whose title starts with `title` ("VLLM::EngineCore", "VLLM::Worker"). */
export function partOf(server: VllmServer, title: string): number {
  const found = groupMembers(server.pid).find((member) => member.title.startsWith(title));
  if (found === undefined) throw new Error(`vLLM has no process named ${title}`);
  return found.pid;
}

/** Runs `use` against a server that is ready, and leaves no process behind whatever happens. */
export async function withServer(
  options: ServeOptions & { log: string },
  use: (server: VllmServer) => Promise<void>,
): Promise<void> {
  const server = await startServer(options);
  const interrupt = () => void killServer(server).finally(() => process.exit(INTERRUPTED_STATUS));
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  try {
    await waitReady(server, options.log);
    await use(server);
  } finally {
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
    await stopServer(server, STOP_GRACE_MS);
  }
}
