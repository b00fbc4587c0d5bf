import { CAPITAL, type Case, CONTINUOUS, chat, SAY_EMOJI, SAY_EMOJI_MESSAGES, STORY } from "../cases/case.ts";
import { recorderOf, send } from "../scenarios.ts";
import type { VllmServer } from "../server.ts";
import { deltaText, frames } from "./read.ts";

const TOKENS = 40;
const QUESTION = CAPITAL[0]?.content ?? "";

function surfaces(guided: boolean): Case[] {
  const fields = { model: "smol", temperature: 0 };
  const choice = guided ? SAY_EMOJI : {};
  const output = guided ? SAY_EMOJI_MESSAGES : {};
  const list = [
    {
      name: "chat",
      path: "/v1/chat/completions",
      body: chat({ ...CONTINUOUS, ...choice, max_tokens: TOKENS }),
    },
    {
      name: "completions",
      path: "/v1/completions",
      body: { ...fields, max_tokens: TOKENS, prompt: "The lighthouse", ...CONTINUOUS, ...choice },
    },
    {
      name: "messages",
      path: "/v1/messages",
      body: { ...fields, max_tokens: TOKENS, messages: CAPITAL, stream: true, ...output },
    },
    {
      name: "responses",
      path: "/v1/responses",
      body: { ...fields, max_output_tokens: TOKENS, input: QUESTION, stream: true, ...choice },
    },
  ];
  return list.map((one) => ({ ...one, shows: "" }));
}

/** When headers and first events come while the request waits; for a server with one slot. */
export async function probeQueue(server: VllmServer): Promise<void> {
  const recorder = recorderOf(server);
  for (const one of surfaces(false)) {
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const body = chat({ ...CONTINUOUS, messages: STORY, max_tokens: 60 });
    const long: Case = { name: "long", path: "/v1/chat/completions", shows: "", body };
    const running = send(recorder, long, { onText: () => begin() });
    await begun;
    const answer = await send(recorder, one);
    await running;
    const shown = answer.pieces.slice(0, 3).map(({ atMs, text }) => `${kindOf(text)} ${Math.round(atMs)} ms`);
    console.log(`queued ${one.name}: headers ${Math.round(answer.headersMs)} ms, then ${shown.join(", ")}`);
  }
}

function kindOf(text: string): string {
  return /^event: (\S+)/m.exec(text)?.[1] ?? (text.includes('"role"') ? "role frame" : "frame");
}

/** Frames with text against tokens, for plain words and for characters of several tokens. */
export async function probeUsage(server: VllmServer): Promise<void> {
  for (const guided of [false, true]) {
    for (const one of surfaces(guided)) {
      const text = (await send(recorderOf(server), one)).body.toString("utf8");
      const deltas = frames(text).filter((frame) => deltaText(frame) !== "").length;
      const told = [...text.matchAll(/"(?:completion|output)_tokens":(\d+)/g)].map((match) => match[1]);
      const kind = guided ? "characters of several tokens" : "plain words";
      console.log(`${one.name}, ${kind}: ${deltas} frames with text; output tokens told: ${told.join(" ")}`);
    }
  }
}
