import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { CONTINUOUS, chat, STORY } from "../cases/case.ts";
import { recorderOf, send } from "../scenarios.ts";
import type { VllmServer } from "../server.ts";
import { counter, toldTokens } from "./read.ts";

const TRIALS = 20;
const SETTLE_MS = 1500;
const PAUSE_MS = 1000;

/** How a client goes away in the middle of a stream. `late`: it has not read for a second when it half-closes. */
type Leave = "half-close" | "half-close, late" | "reset";

interface Left {
  /** Output tokens told before and after the client left. */
  before: number;
  after: number;
  /** How the connection ended on our side, and how long after leaving. */
  end: string;
  endMs: number;
}

async function leaveOnce(server: VllmServer, frames: number, delayMs: number, how: Leave): Promise<Left> {
  let before = 0;
  let latest = "";
  let leftAtMs = 0;
  let end = "reset";
  const leave = async (socket: Socket) => {
    socket.once("end", () => {
      end = "FIN";
    });
    await sleep(delayMs);
    if (how === "half-close, late") {
      socket.pause();
      await sleep(PAUSE_MS);
    }
    before = toldTokens(latest);
    leftAtMs = performance.now();
    if (how === "reset") socket.resetAndDestroy();
    else socket.end();
    socket.resume();
  };
  let leaving = false;
  const body = chat({ ...CONTINUOUS, messages: STORY, max_tokens: 200 });
  const answer = await send(
    recorderOf(server),
    { name: "leave", path: "/v1/chat/completions", shows: "", body },
    {
      onText: (text, socket) => {
        latest = text;
        if (leaving || text.split("\n\n").length <= frames) return;
        leaving = true;
        void leave(socket);
      },
    },
  );
  const text = answer.body.toString("utf8");
  if (!text.endsWith("\n\n")) end += " inside a frame";
  return { before, after: toldTokens(text) - before, end, endMs: performance.now() - leftAtMs };
}

async function probe(server: VllmServer, how: Leave, together: number): Promise<void> {
  const ends: Record<string, number> = {};
  const untold: number[] = [];
  let after = 0;
  let slowestMs = 0;
  for (let trial = 0; trial < TRIALS; trial += together) {
    const start = await counter(server, "vllm:generation_tokens_total");
    const batch = Array.from({ length: together }, (_, i) => {
      const number = trial + i;
      // Spread over the gap between two tokens (about 25 ms alone, 100 ms for four).
      return leaveOnce(server, 4 + (number % 5), (number * 7) % (together === 1 ? 30 : 100), how);
    });
    const results = await Promise.all(batch);
    await sleep(SETTLE_MS);
    const generated = (await counter(server, "vllm:generation_tokens_total")) - start;
    untold.push(generated - results.reduce((sum, one) => sum + one.before + one.after, 0));
    for (const one of results) {
      after += one.after;
      slowestMs = Math.max(slowestMs, one.endMs);
      ends[one.end] = (ends[one.end] ?? 0) + 1;
    }
  }
  const aborted = await counter(server, "vllm:request_success_total", 'finished_reason="abort"');
  console.log(
    `${how}, ${together} at once, ${TRIALS} streams: ended by ${JSON.stringify(ends)}, at most ${Math.round(slowestMs)} ms ` +
      `after leaving; tokens that came after leaving: ${after}; counted by vLLM but in no frame, per batch: ` +
      `${untold.join(" ")}; request_success_total{abort}: ${aborted}`,
  );
}

/** What a client that leaves a stream gets to know of what was generated, against vLLM's own counter. */
export async function probeLeaving(server: VllmServer): Promise<void> {
  await probe(server, "half-close", 1);
  await probe(server, "half-close", 4);
  await probe(server, "half-close, late", 1);
  await probe(server, "half-close, late", 4);
  await probe(server, "reset", 1);
}
