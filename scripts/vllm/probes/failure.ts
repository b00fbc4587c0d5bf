import { setTimeout as sleep } from "node:timers/promises";
import { CONTINUOUS, chat, STORY } from "../cases/case.ts";
import { groupMembers } from "../processes.ts";
import { recorderOf, send } from "../scenarios.ts";
import { partOf, type VllmServer } from "../server.ts";
import type { Answer } from "../wire.ts";

const WATCH_MS = 20_000;
const FREEZE_MS = 5000;

const LONG = {
  path: "/v1/chat/completions",
  shows: "",
  body: chat({ ...CONTINUOUS, messages: STORY, max_tokens: 400 }),
};

/** A stream that runs; `answer` resolves when it has ended or `deadlineMs` has passed. */
async function running(server: VllmServer, deadlineMs: number): Promise<{ answer: Promise<Answer> }> {
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  const answer = send(
    recorderOf(server),
    { ...LONG, name: "running" },
    { onText: () => begin(), deadlineMs },
  );
  await begun;
  return { answer };
}

async function statusOf(server: VllmServer, path: string): Promise<string> {
  return fetch(`${server.baseUrl}${path}`, { signal: AbortSignal.timeout(FREEZE_MS) }).then(
    (response) => String(response.status),
    (error: Error) => String((error.cause as Error | undefined)?.message ?? error.name),
  );
}

function endingOf(answer: Answer): string {
  const text = answer.body.toString("utf8");
  const marks = [
    text.includes('"error"') ? "an error frame" : "",
    text.includes('"finish_reason":"length"') || text.includes('"finish_reason":"stop"')
      ? "a finish_reason"
      : "",
    text.includes("[DONE]") ? "[DONE]" : "",
  ].filter((mark) => mark !== "");
  return `${answer.end} with ${marks.length === 0 ? "no last word" : marks.join(", ")}`;
}

/** An engine that hangs (SIGSTOP) and comes back (SIGCONT). */
export async function probeFreeze(server: VllmServer): Promise<void> {
  const engine = partOf(server, "VLLM::EngineCore");
  process.kill(engine, "SIGSTOP");
  const seen = [];
  for (const path of ["/health", "/metrics", "/v1/models"])
    seen.push(`${path} ${await statusOf(server, path)}`);
  const answer = await send(recorderOf(server), { ...LONG, name: "frozen" }, { deadlineMs: FREEZE_MS });
  process.kill(engine, "SIGCONT");
  console.log(
    `frozen engine: ${seen.join(", ")}; new stream: ${answer.status} after ${Math.round(answer.headersMs)} ms, ` +
      `${answer.body.length} bytes in ${FREEZE_MS} ms`,
  );
}

/** SIGTERM in the middle of a stream. */
export async function probeTerminate(server: VllmServer): Promise<void> {
  const { answer } = await running(server, WATCH_MS);
  const startMs = performance.now();
  server.process.kill("SIGTERM");
  const ended = await answer;
  console.log(
    `SIGTERM: the stream ends ${endingOf(ended)} after ${Math.round(performance.now() - startMs)} ms`,
  );
}

/** SIGKILL of the API process in the middle of a stream, and what it leaves behind. */
export async function probeKill(server: VllmServer): Promise<void> {
  const { answer } = await running(server, WATCH_MS);
  const startMs = performance.now();
  server.process.kill("SIGKILL");
  const ended = await answer;
  const endMs = Math.round(performance.now() - startMs);
  await sleep(FREEZE_MS);
  const left = groupMembers(server.pid).map((member) => member.title.split(" ")[0]);
  console.log(
    `SIGKILL of the API process: the stream ends ${endingOf(ended)} after ${endMs} ms; then /health: ` +
      `${await statusOf(server, "/health")}; ${FREEZE_MS} ms later still alive: ${left.join(", ") || "nothing"}`,
  );
}

/** SIGKILL of the engine: how long until the stream ends, and what /health says then. */
export async function probeEngineKill(server: VllmServer): Promise<void> {
  const { answer } = await running(server, WATCH_MS);
  const startMs = performance.now();
  process.kill(partOf(server, "VLLM::EngineCore"), "SIGKILL");
  const ended = await answer;
  const endMs = Math.round(performance.now() - startMs);
  const health = await statusOf(server, "/health");
  console.log(
    `SIGKILL of the engine: the stream ends ${endingOf(ended)} after ${endMs} ms; then /health: ${health}`,
  );
}
