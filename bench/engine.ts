/**
 * CPU per streamed event in the gate's reader: bytes in, text for the client out. `node bench/engine.ts`
 *
 * Each line is one endpoint and one way to read it, in microseconds per event and as a ratio to `JSON.parse` of the
 * same frames, which is the floor for anything that looks into a frame. The best of several rounds counts: what
 * disturbs a round can only make it slower.
 */
import { parseArgs } from "node:util";
import type { OriginOrder } from "../src/contract/origin-token.ts";
import type { JsonObject, StreamReader } from "../src/engine/endpoint.ts";
import { endpointForPath } from "../src/engine/endpoints.ts";
import { SseParser } from "../src/engine/sse.ts";

const { values: flags } = parseArgs({
  options: { events: { type: "string", default: "2000" }, rounds: { type: "string", default: "30" } },
});
const EVENTS = Number(flags.events);
const ROUNDS = Number(flags.rounds);

const ORDER: OriginOrder = {
  pool: "bench",
  secretVersion: 1,
  requestId: "req_bench",
  attempt: 0,
  path: "",
  replica: "r0",
  servedModel: "served-model",
  startByMs: 0,
  deadlineMs: 0,
  firstTokenTimeoutMs: 0,
  tokenGapTimeoutMs: 0,
  cacheSalt: "salt",
  maxOutputTokens: null,
  estimatedPromptTokens: 1,
  ticket: "",
};

/** A frame of chat as vLLM 0.32 writes it with `continuous_usage_stats`. */
function chatFrame(index: number): string {
  const usage = `{"prompt_tokens":437,"total_tokens":${437 + index},"completion_tokens":${index},"completion_tokens_details":null}`;
  return (
    'data: {"id":"chatcmpl-b995983bb7961eb3","object":"chat.completion.chunk","created":1795409129,' +
    `"model":"served-model","choices":[{"index":0,"delta":{"content":" word${index % 97}"},"logprobs":null,` +
    `"finish_reason":null,"token_ids":null}],"usage":${usage}}\n\n`
  );
}

function messagesFrame(index: number): string {
  const delta = `{"type":"text_delta","text":" word${index % 97}"}`;
  return `event: content_block_delta\ndata: {"type":"content_block_delta","delta":${delta},"index":0}\n\n`;
}

function responsesFrame(index: number): string {
  return (
    'event: response.output_text.delta\ndata: {"content_index":0,' +
    `"delta":" word${index % 97}","item_id":"msg_818cfd2abb08ff1e","logprobs":[],"output_index":0,` +
    `"sequence_number":${index},"type":"response.output_text.delta"}\n\n`
  );
}

interface Case {
  readonly name: string;
  readonly frame: (index: number) => string;
  readonly reader: () => StreamReader;
}

function streamed(name: string, path: string, frame: (index: number) => string, body: JsonObject): Case {
  const endpoint = endpointForPath(path)!;
  return { name, frame, reader: () => endpoint.reader({ model: "served-model", ...body }, ORDER) };
}

const CHAT = "/v1/chat/completions";
const CONTINUOUS = { stream_options: { include_usage: true, continuous_usage_stats: true } };

const CASES: Case[] = [
  streamed("chat, nothing to cut", CHAT, chatFrame, CONTINUOUS),
  streamed("chat, usage cut out", CHAT, chatFrame, {}),
  streamed("chat, usage cut out, model renamed", CHAT, chatFrame, { model: "client-name" }),
  { name: "chat, aggregated", frame: chatFrame, reader: () => endpointForPath(CHAT)!.aggregator({}, ORDER) },
  streamed("messages", "/v1/messages", messagesFrame, {}),
  streamed("responses", "/v1/responses", responsesFrame, {}),
];

/** Best time of all rounds in microseconds per event. */
function best(run: () => number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const started = performance.now();
    const seen = run();
    const micros = ((performance.now() - started) * 1_000) / EVENTS;
    if (seen !== EVENTS) throw new Error(`read ${seen} of ${EVENTS} events`);
    least = Math.min(least, micros);
  }
  return least;
}

function measure(one: Case): { micros: number; ratio: number; bytes: number } {
  const frames = Array.from({ length: EVENTS }, (_, index) => one.frame(index));
  const chunks = frames.map((frame) => new TextEncoder().encode(frame));
  const payloads = frames.map((frame) => frame.slice(frame.indexOf("data: ") + 6, -2));
  let sink = 0;
  const floor = best(() => {
    for (const payload of payloads) sink += JSON.parse(payload) === null ? 1 : 0;
    return payloads.length;
  });
  const micros = best(() => {
    const parser = new SseParser();
    const reader = one.reader();
    let seen = 0;
    for (const chunk of chunks) {
      for (const event of parser.push(chunk)) {
        const step = reader.take(event);
        if (step.end !== undefined) throw new Error(JSON.stringify(step.end));
        sink += step.forward.length;
        seen += step.progressed ? 1 : 0;
      }
    }
    return seen;
  });
  if (sink < 0) throw new Error("nothing was read");
  return { micros, ratio: micros / floor, bytes: chunks[0]!.length };
}

for (const one of CASES) {
  const { micros, ratio, bytes } = measure(one);
  const figures = `${micros.toFixed(2)} us per event, ${ratio.toFixed(2)} times JSON.parse (${bytes} bytes)`;
  console.log(`${one.name.padEnd(36)} ${figures}`);
}
