import { z } from "zod";
import { ANSWER_TOKENS, MESSAGE_TOKENS, mediaUrl, PARTS_MAX, type PromptMeter } from "./content.ts";
import type { JsonObject } from "./endpoint.ts";
import { flag, name, text } from "./fields.ts";
import { freeJson, freeObject, isJsonObject, list } from "./schema.ts";

/** Content of Anthropic's messages: its schema, and what it costs. */

/** Asks for caching that the engine does by itself; every block may carry it. */
const cached = { cache_control: freeJson.nullish() };

const textBlock = z.strictObject({ type: z.literal("text"), text, citations: freeJson.nullish(), ...cached });
const imageBlock = z.strictObject({
  type: z.literal("image"),
  source: z.discriminatedUnion("type", [
    z.strictObject({
      type: z.literal("base64"),
      // The engine puts it into a `data:` URL as it is, so it must be nothing but a type.
      media_type: z.enum(["image/jpeg", "image/png", "image/gif", "image/webp"]),
      data: text,
    }),
    z.strictObject({ type: z.literal("url"), url: mediaUrl }),
  ]),
  ...cached,
});
const toolUseBlock = z.strictObject({
  type: z.literal("tool_use"),
  id: z.string().max(256),
  name,
  input: freeObject,
  caller: freeJson.nullish(),
  ...cached,
});
const toolResultBlock = z.strictObject({
  type: z.literal("tool_result"),
  tool_use_id: z.string().max(256),
  content: z.union([text, list(z.discriminatedUnion("type", [textBlock, imageBlock]), PARTS_MAX)]).nullish(),
  is_error: flag,
  ...cached,
});
const thinkingBlock = z.strictObject({
  type: z.literal("thinking"),
  thinking: text,
  signature: text.nullish(),
});
const redactedBlock = z.strictObject({ type: z.literal("redacted_thinking"), data: text });

export const blocks = z.union([
  text,
  list(
    z.discriminatedUnion("type", [
      textBlock,
      imageBlock,
      toolUseBlock,
      toolResultBlock,
      thinkingBlock,
      redactedBlock,
    ]),
    PARTS_MAX,
  ),
]);
export const systemBlocks = z.union([text, list(textBlock, PARTS_MAX)]);

/** What a body costs that the schema has accepted. */
export function measureMessages(body: JsonObject, meter: PromptMeter): void {
  const messages = body.messages as JsonObject[];
  const system = body.system ?? null;
  meter.fixedTokens += ANSWER_TOKENS + MESSAGE_TOKENS * (messages.length + (system === null ? 0 : 1));
  addContent(system, meter);
  for (const message of messages) addContent(message.content, meter);
  if (Array.isArray(body.tools)) meter.addJson(body.tools);
}

function addContent(content: unknown, meter: PromptMeter): void {
  if (typeof content === "string") meter.text.add(content);
  else if (Array.isArray(content)) for (const block of content) addBlock(block as JsonObject, meter);
}

function addBlock(block: JsonObject, meter: PromptMeter): void {
  if (typeof block.text === "string") meter.text.add(block.text);
  else if (typeof block.thinking === "string") meter.text.add(block.thinking);
  else if (isJsonObject(block.source)) addImage(block.source, meter);
  else if (block.type === "tool_use") meter.addJson({ name: block.name, arguments: block.input });
  else if (block.type === "tool_result") {
    // The engine makes a message of its own of each.
    meter.fixedTokens += MESSAGE_TOKENS;
    addContent(block.content, meter);
  }
}

function addImage(source: JsonObject, meter: PromptMeter): void {
  if (typeof source.url === "string") meter.addImage(source.url);
  else meter.addImage(`data:${String(source.media_type)};base64,${String(source.data)}`);
}
