import { z } from "zod";
import {
  MESSAGES_MAX,
  OUTPUT_TOKENS_MAX,
  STOP_STRING_MAX_CHARS,
  STOP_STRINGS_MAX,
  TOOLS_MAX,
} from "../../bounds.ts";
import type { OriginOrder } from "../../contract/origin-token.ts";
import type { Failure } from "../../errors.ts";
import { blocks, measureMessages, systemBlocks } from "../anthropic-content.ts";
import { anthropicUsage, MessagesAggregator, MessagesReader } from "../anthropic-stream.ts";
import { PromptMeter } from "../content.ts";
import type { Call, Endpoint, JsonObject, Mode, Prepared } from "../endpoint.ts";
import { decimal, engineForbidden, flag, integer, modelName, name, text, userId } from "../fields.ts";
import { applyOrder, clampOutput, engineFields, numberOf } from "../order.ts";
import { endUserOf, parser } from "../parse.ts";
import { freeJson, freeObject, invalid, isJsonObject, list, type RequestFields } from "../schema.ts";

/** POST /v1/messages, as Anthropic has it. Fields and reasons: docs/endpoints.md. */

const message = z.discriminatedUnion("role", [
  z.strictObject({ role: z.literal("user"), content: blocks }),
  z.strictObject({ role: z.literal("assistant"), content: blocks }),
  z.strictObject({ role: z.literal("system"), content: systemBlocks }),
]);

const tool = z.strictObject({
  name,
  input_schema: freeObject,
  description: text.nullish(),
  strict: flag,
  /** Every other type is a tool that Anthropic's own servers run. */
  type: z.literal("custom").nullish(),
  cache_control: freeJson.nullish(),
  input_examples: freeJson.nullish(),
  eager_input_streaming: flag,
});

const parallel = { disable_parallel_tool_use: flag };
const toolChoice = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("auto"), ...parallel }),
  z.strictObject({ type: z.literal("any"), ...parallel }),
  z.strictObject({ type: z.literal("tool"), name, ...parallel }),
  z.strictObject({ type: z.literal("none") }),
]);

const display = z.enum(["summarized", "omitted", "updates"]).nullish();
const THINKING_MIN_TOKENS = 1_024;
const thinking = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("enabled"),
    budget_tokens: z.int().min(THINKING_MIN_TOKENS).max(OUTPUT_TOKENS_MAX),
    display,
  }),
  z.strictObject({ type: z.literal("adaptive"), display }),
  z.strictObject({ type: z.literal("disabled") }),
]);

const SERVER_TOOLS = "tools that run on the server are not available; send your own as 'tools'.";

export const messagesFields: RequestFields = {
  passes: {
    model: modelName,
    messages: list(message, MESSAGES_MAX, 1),
    max_tokens: z.int().min(1).max(OUTPUT_TOKENS_MAX),
    system: systemBlocks.nullish(),
    stream: flag,
    temperature: decimal(0, 1),
    top_p: decimal(0, 1),
    top_k: integer(-1, 1_000_000),
    stop_sequences: list(z.string().max(STOP_STRING_MAX_CHARS), STOP_STRINGS_MAX).nullish(),
    tools: list(tool, TOOLS_MAX).nullish(),
    tool_choice: toolChoice.nullish(),
    thinking: thinking.nullish(),
    output_config: z
      .strictObject({
        effort: z.enum(["low", "medium", "high", "xhigh", "max"]).nullish(),
        format: z.strictObject({ type: z.literal("json_schema"), schema: freeObject }).nullish(),
      })
      .nullish(),
  },
  stripped: {
    metadata: z.strictObject({ user_id: userId }).nullish(),
    service_tier: z.string().max(64).nullish(),
    /** Hints for Anthropic's cache and context editing; the engine caches by itself and edits nothing. */
    cache_control: freeJson.nullish(),
    context_management: freeJson.nullish(),
  },
  forbidden: {
    ...engineForbidden,
    mcp_servers: SERVER_TOOLS,
    container: SERVER_TOOLS,
    inference_geo: "regions are a matter of the account's settings.",
  },
};

function inconsistent(body: JsonObject): Failure | null {
  const budget = isJsonObject(body.thinking) ? numberOf(body.thinking.budget_tokens) : null;
  if (budget !== null && budget >= (body.max_tokens as number)) {
    return invalid("thinking.budget_tokens", "must be less than 'max_tokens'.");
  }
  return null;
}

function callOf(body: JsonObject): Call {
  const meter = new PromptMeter();
  measureMessages(body, meter);
  return {
    endpoint: "messages",
    model: body.model as string,
    stream: body.stream === true,
    maxOutputTokens: body.max_tokens as number,
    choices: 1,
    measure: meter.text.measure(),
    fixedTokens: meter.fixedTokens,
    generates: true,
    atOnce: modeOf(body) === "whole",
    endUser: endUserOf(body),
  };
}

/** Exact for text and thinking; tool calls are parsed by other code in a stream than in one JSON. */
function aggregates(body: JsonObject): boolean {
  const constrained = isJsonObject(body.output_config) && isJsonObject(body.output_config.format);
  return !constrained && !(Array.isArray(body.tools) && body.tools.length > 0);
}

function modeOf(body: JsonObject): Mode {
  if (body.stream === true) return "stream";
  return aggregates(body) ? "aggregate" : "whole";
}

function prepare(body: JsonObject, order: OriginOrder): Prepared {
  const engine = applyOrder(engineFields(body, messagesFields), order);
  clampOutput(engine, "max_tokens", body.max_tokens as number, order.maxOutputTokens);
  fitThinking(engine);
  const mode = modeOf(body);
  if (mode === "whole") delete engine.stream;
  else engine.stream = true;
  return { mode, body: engine };
}

/** The engine refuses a thinking budget that a clamped `max_tokens` no longer exceeds; without one it has no bound. */
function fitThinking(engine: JsonObject): void {
  const budget = isJsonObject(engine.thinking) ? numberOf(engine.thinking.budget_tokens) : null;
  if (budget === null || budget < (engine.max_tokens as number)) return;
  engine.thinking = { type: "adaptive" };
}

export const messages: Endpoint = {
  id: "messages",
  path: "/v1/messages",
  enginePath: "/v1/messages",
  errorShape: "anthropic",
  parse: parser(messagesFields, inconsistent, callOf),
  prepare,
  reader: (body, order) => new MessagesReader(String(body.model), order),
  aggregator: (body, order) => new MessagesAggregator(String(body.model), order),
  wholeUsage: (answer) => (isJsonObject(answer.usage) ? anthropicUsage(answer.usage) : null),
};
