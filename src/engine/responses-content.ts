import { z } from "zod";
import { MESSAGES_MAX } from "../bounds.ts";
import { ANSWER_TOKENS, MESSAGE_TOKENS, mediaUrl, PARTS_MAX, type PromptMeter } from "./content.ts";
import type { JsonObject } from "./endpoint.ts";
import { name, text } from "./fields.ts";
import { chosen, freeJson, isJsonObject, list } from "./schema.ts";

/** Input of the Responses API: its schema, and what it costs. */

const itemId = z.string().max(256);
/** The engine would go on writing a message that is not completed, instead of answering it. */
const completed = z.literal("completed").nullish();
const anyStatus = z.enum(["in_progress", "completed", "incomplete"]).nullish();

const inputText = z.strictObject({ type: z.literal("input_text"), text });
const inputImage = z.strictObject({
  type: z.literal("input_image"),
  image_url: mediaUrl,
  detail: z.enum(["auto", "low", "high", "original"]).nullish(),
  file_id: z.null().optional(),
});
const inputAudio = z.strictObject({
  type: z.literal("input_audio"),
  input_audio: z.strictObject({ data: text, format: z.string().max(16) }),
});
const outputText = z.strictObject({
  type: z.literal("output_text"),
  text,
  annotations: list(freeJson, PARTS_MAX).nullish(),
  logprobs: freeJson.nullish(),
});
const refusal = z.strictObject({ type: z.literal("refusal"), refusal: text });

const parts = list(
  z.discriminatedUnion("type", [inputText, inputImage, inputAudio, outputText, refusal]),
  PARTS_MAX,
);

const message = z.strictObject({
  type: z.literal("message").optional(),
  role: z.enum(["user", "assistant", "system", "developer"]),
  content: z.union([text, parts]),
  id: itemId.nullish(),
  status: completed,
  phase: z.string().max(64).nullish(),
});
const functionCall = z.strictObject({
  type: z.literal("function_call"),
  call_id: itemId,
  name,
  arguments: text,
  id: itemId.nullish(),
  status: anyStatus,
  /** What the engine adds to its own calls, always null. */
  async: z.null().optional(),
  caller: z.null().optional(),
  namespace: z.null().optional(),
});
const functionOutput = z.strictObject({
  type: z.literal("function_call_output"),
  call_id: itemId,
  output: z.union([text, list(z.discriminatedUnion("type", [inputText, inputImage]), PARTS_MAX)]),
  id: itemId.nullish(),
  status: anyStatus,
});
const thought = z.strictObject({ type: z.enum(["reasoning_text", "summary_text"]), text });
const reasoning = z.strictObject({
  type: z.literal("reasoning"),
  id: itemId.nullish(),
  summary: list(thought, PARTS_MAX),
  content: list(thought, PARTS_MAX).nullish(),
  encrypted_content: z.null().optional(),
  status: completed,
});

const typedItem = z.discriminatedUnion("type", [
  functionCall,
  functionOutput,
  reasoning,
  message.required({ type: true }),
]);
/** Only messages may leave their type out. */
const item = chosen((value) => (isJsonObject(value) && Object.hasOwn(value, "type") ? typedItem : message));

export const responsesInput = z.union([text, list(item, MESSAGES_MAX, 1)]);

/** What a body costs that the schema has accepted. */
export function measureResponses(body: JsonObject, meter: PromptMeter): void {
  meter.fixedTokens += ANSWER_TOKENS;
  if (typeof body.instructions === "string") addText(body.instructions, meter);
  if (typeof body.input === "string") addText(body.input, meter);
  else for (const one of body.input as JsonObject[]) addItem(one, meter);
  if (Array.isArray(body.tools)) meter.addJson(body.tools);
}

function addText(value: string, meter: PromptMeter): void {
  meter.text.add(value);
  meter.fixedTokens += MESSAGE_TOKENS;
}

function addItem(one: JsonObject, meter: PromptMeter): void {
  meter.fixedTokens += MESSAGE_TOKENS;
  if (one.type === "function_call") meter.addJson({ name: one.name, arguments: one.arguments });
  for (const value of [one.content, one.output, one.summary]) {
    if (typeof value === "string") meter.text.add(value);
    else if (Array.isArray(value)) for (const part of value) meter.addPart(part as JsonObject);
  }
}
