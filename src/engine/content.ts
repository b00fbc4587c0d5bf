import { z } from "zod";
import { TOOLS_MAX } from "../bounds.ts";
import type { JsonObject } from "./endpoint.ts";
import { flag, name, text } from "./fields.ts";
import { audioTokens, dataUrl, imageTokens, videoTokens } from "./media.ts";
import { freeObject, isJsonObject, list, refusedUnless } from "./schema.ts";
import { TextMeter } from "./text.ts";

/** Content of OpenAI's chat messages: its schema, and what it costs. Also used where chat messages are embedded. */

export const PARTS_MAX = 4_096;

/** Base64 in a `data:` URL; everything else the engine itself would go and fetch. */
export const mediaUrl = refusedUnless(
  text,
  (url) => dataUrl(url) !== null,
  "media must be sent as a base64 'data:' URL; the router fetches nothing.",
);

const textPart = z.strictObject({ type: z.literal("text"), text });
const refusalPart = z.strictObject({ type: z.literal("refusal"), refusal: text });
const imagePart = z.strictObject({
  type: z.literal("image_url"),
  image_url: z.strictObject({ url: mediaUrl, detail: z.enum(["auto", "low", "high"]).nullish() }),
});
const inputAudioPart = z.strictObject({
  type: z.literal("input_audio"),
  input_audio: z.strictObject({ data: text, format: z.string().max(16) }),
});
const audioUrlPart = z.strictObject({
  type: z.literal("audio_url"),
  audio_url: z.strictObject({ url: mediaUrl }),
});
const videoUrlPart = z.strictObject({
  type: z.literal("video_url"),
  video_url: z.strictObject({ url: mediaUrl }),
});

const textParts = list(z.discriminatedUnion("type", [textPart]), PARTS_MAX);
const userParts = list(
  z.discriminatedUnion("type", [textPart, imagePart, inputAudioPart, audioUrlPart, videoUrlPart]),
  PARTS_MAX,
);
const toolParts = list(z.discriminatedUnion("type", [textPart, imagePart]), PARTS_MAX);
const assistantParts = list(z.discriminatedUnion("type", [textPart, refusalPart]), PARTS_MAX);

const toolCall = z.strictObject({
  id: z.string().max(256),
  type: z.literal("function"),
  function: z.strictObject({ name, arguments: text }),
  /** SDKs that collect a stream send the index back. */
  index: z.int().min(0).nullish(),
});

const assistant = z.strictObject({
  role: z.literal("assistant"),
  content: z.union([text, assistantParts]).nullish(),
  name: name.nullish(),
  refusal: text.nullish(),
  tool_calls: list(toolCall, TOOLS_MAX).nullish(),
  reasoning: text.nullish(),
  reasoning_content: text.nullish(),
  /** Answers carry these three, and come back as history. Audio and old-style calls would be state. */
  annotations: z.union([z.null(), list(freeObject, PARTS_MAX)]).optional(),
  audio: z.null().optional(),
  function_call: z.null().optional(),
});

export const chatMessage = z.discriminatedUnion("role", [
  z.strictObject({ role: z.literal("system"), content: z.union([text, textParts]), name: name.nullish() }),
  z.strictObject({ role: z.literal("developer"), content: z.union([text, textParts]), name: name.nullish() }),
  z.strictObject({ role: z.literal("user"), content: z.union([text, userParts]), name: name.nullish() }),
  assistant,
  z.strictObject({
    role: z.literal("tool"),
    content: z.union([text, toolParts]),
    tool_call_id: z.string().max(256),
    name: name.nullish(),
  }),
]);

export const functionTool = z.strictObject({
  type: z.literal("function"),
  function: z.strictObject({
    name,
    description: text.nullish(),
    parameters: freeObject.nullish(),
    strict: flag,
  }),
});

/** A template's frame around a message: role, separators (OpenAI's cookbook counts 3 to 4; others the same). */
export const MESSAGE_TOKENS = 4;
/** The start of the answer's own message. */
export const ANSWER_TOKENS = 3;

/** What a prompt costs: its text by script class, and tokens that do not depend on text. */
export class PromptMeter {
  readonly text = new TextMeter();
  fixedTokens = 0;

  /** Text that the engine renders as JSON: tools, tool calls. */
  addJson(value: unknown): void {
    this.text.add(JSON.stringify(value) ?? "");
  }

  addImage(url: string): void {
    this.fixedTokens += imageTokens(url);
  }

  addAudioUrl(url: string): void {
    this.fixedTokens += audioTokens(url.length, /^data:audio\/(?:x-)?wav/i.test(url));
  }

  addVideo(): void {
    this.fixedTokens += videoTokens();
  }

  /** A text, to which the tokenizer adds `aroundTokens`, or token ids, which are what they are. */
  addPrompt(prompt: string | readonly number[], aroundTokens: number): void {
    if (typeof prompt === "string") {
      this.text.add(prompt);
      this.fixedTokens += aroundTokens;
    } else this.fixedTokens += prompt.length;
  }

  /** Messages that `chatMessage` has accepted. */
  addChat(messages: readonly JsonObject[]): void {
    this.fixedTokens += ANSWER_TOKENS + MESSAGE_TOKENS * messages.length;
    for (const message of messages) this.#addMessage(message);
  }

  #addMessage(message: JsonObject): void {
    const { content, reasoning, tool_calls: calls } = message;
    if (typeof message.name === "string") this.text.add(message.name);
    if (typeof reasoning === "string") this.text.add(reasoning);
    if (Array.isArray(calls)) this.addJson(calls.map((call) => (call as JsonObject).function));
    if (typeof content === "string") this.text.add(content);
    else if (Array.isArray(content)) for (const part of content) this.addPart(part as JsonObject);
  }

  addPart(part: JsonObject): void {
    if (typeof part.text === "string") this.text.add(part.text);
    else if (typeof part.refusal === "string") this.text.add(part.refusal);
    else if (isJsonObject(part.image_url)) this.addImage(String(part.image_url.url));
    else if (typeof part.image_url === "string") this.addImage(part.image_url);
    else if (isJsonObject(part.audio_url)) this.addAudioUrl(String(part.audio_url.url));
    else if (isJsonObject(part.video_url)) this.addVideo();
    else if (isJsonObject(part.input_audio)) {
      const wav = part.input_audio.format === "wav";
      this.fixedTokens += audioTokens(String(part.input_audio.data).length, wav);
    }
  }
}
