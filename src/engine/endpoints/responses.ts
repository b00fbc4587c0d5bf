import { z } from "zod";
import { TOOLS_MAX } from "../../bounds.ts";
import type { OriginOrder } from "../../contract/origin-token.ts";
import type { Failure } from "../../errors.ts";
import { PromptMeter } from "../content.ts";
import type { Call, Endpoint, JsonObject, Mode, Prepared } from "../endpoint.ts";
import {
  decimal,
  engineForbidden,
  flag,
  integer,
  modelName,
  name,
  onlyFalse,
  openaiStripped,
  outputTokens,
  sampling,
  text,
  topLogprobs,
} from "../fields.ts";
import { applyOrder, clampOutput, engineFields, numberOf } from "../order.ts";
import { endUserOf, parser } from "../parse.ts";
import { measureResponses, responsesInput } from "../responses-content.ts";
import { ResponsesAggregator, ResponsesReader, responsesUsage } from "../responses-stream.ts";
import { freeObject, invalid, isJsonObject, list, type RequestFields } from "../schema.ts";

/** POST /v1/responses, as far as it needs no state on a server. Fields and reasons: docs/endpoints.md. */

const STATE = "responses are not kept here; send the whole conversation as 'input'.";

const tool = z.strictObject({
  type: z.literal("function"),
  name,
  description: text.nullish(),
  parameters: freeObject.nullish(),
  strict: flag,
});

const textConfig = z.strictObject({
  verbosity: z.enum(["low", "medium", "high"]).nullish(),
  format: z
    .discriminatedUnion("type", [
      z.strictObject({ type: z.literal("text") }),
      z.strictObject({ type: z.literal("json_object") }),
      z.strictObject({
        type: z.literal("json_schema"),
        name,
        schema: freeObject,
        description: text.nullish(),
        strict: flag,
      }),
    ])
    .nullish(),
});

const { min_tokens: _none, spaces_between_special_tokens: _neither, ...responsesSampling } = sampling;

export const responsesFields: RequestFields = {
  passes: {
    ...responsesSampling,
    model: modelName,
    input: responsesInput,
    instructions: text.nullish(),
    max_output_tokens: outputTokens,
    stream: flag,
    temperature: decimal(0, 2),
    top_logprobs: topLogprobs,
    include: list(z.enum(["message.output_text.logprobs", "reasoning.encrypted_content"]), 2).nullish(),
    text: textConfig.nullish(),
    tools: list(tool, TOOLS_MAX).nullish(),
    tool_choice: z
      .union([z.enum(["none", "auto", "required"]), z.strictObject({ type: z.literal("function"), name })])
      .nullish(),
    parallel_tool_calls: flag,
    reasoning: z
      .strictObject({
        effort: z.enum(["none", "minimal", "low", "medium", "high", "xhigh", "max"]).nullish(),
        summary: z.enum(["auto", "concise", "detailed"]).nullish(),
        generate_summary: z.enum(["auto", "concise", "detailed"]).nullish(),
      })
      .nullish(),
    include_reasoning: flag,
    truncation: z.enum(["auto", "disabled"]).nullish(),
  },
  stripped: {
    ...openaiStripped,
    background: onlyFalse(STATE),
    previous_response_id: z.null().optional(),
    conversation: z.null().optional(),
    prompt: z.null().optional(),
    max_tool_calls: integer(0, 1_000_000),
    stream_options: z.strictObject({ include_obfuscation: flag }).nullish(),
  },
  forbidden: {
    ...engineForbidden,
    enable_response_messages: "it shows the engine's internals.",
    previous_input_messages: STATE,
    context_management: STATE,
    moderation: "nothing here moderates.",
  },
};

/** Needs state on a server, which is told before anything else about the field. */
const STATEFUL = ["previous_response_id", "conversation", "prompt"] as const;

function stateful(body: JsonObject): Failure | null {
  for (const param of STATEFUL) {
    if (body[param] === undefined || body[param] === null) continue;
    return { tag: "forbidden_field", param, detail: `'${param}' is not accepted: ${STATE}` };
  }
  return null;
}

function inconsistent(body: JsonObject): Failure | null {
  if ((numberOf(body.top_logprobs) ?? 0) > 0 && !includesLogprobs(body)) {
    return invalid("top_logprobs", "only with 'include': [\"message.output_text.logprobs\"].");
  }
  return null;
}

function includesLogprobs(body: JsonObject): boolean {
  return Array.isArray(body.include) && body.include.includes("message.output_text.logprobs");
}

function callOf(body: JsonObject): Call {
  const meter = new PromptMeter();
  measureResponses(body, meter);
  return {
    endpoint: "responses",
    model: body.model as string,
    stream: body.stream === true,
    maxOutputTokens: numberOf(body.max_output_tokens),
    choices: 1,
    measure: meter.text.measure(),
    fixedTokens: meter.fixedTokens,
    generates: true,
    atOnce: modeOf(body) === "whole",
    endUser: endUserOf(body),
  };
}

/** The stream's last event holds the whole answer; exact for text and reasoning, not where other code parses it. */
function aggregates(body: JsonObject): boolean {
  const format = isJsonObject(body.text) && isJsonObject(body.text.format) ? body.text.format.type : "text";
  const tools = Array.isArray(body.tools) && body.tools.length > 0;
  return !tools && format === "text" && !includesLogprobs(body) && body.include_reasoning !== false;
}

function modeOf(body: JsonObject): Mode {
  if (body.stream === true) return "stream";
  return aggregates(body) ? "aggregate" : "whole";
}

function prepare(body: JsonObject, order: OriginOrder): Prepared {
  const engine = applyOrder(engineFields(body, responsesFields), order);
  engine.store = false;
  clampOutput(engine, "max_output_tokens", numberOf(body.max_output_tokens), order.maxOutputTokens);
  const mode = modeOf(body);
  if (mode === "whole") delete engine.stream;
  else engine.stream = true;
  return { mode, body: engine };
}

const parse = parser(responsesFields, inconsistent, callOf);

export const responses: Endpoint = {
  id: "responses",
  path: "/v1/responses",
  enginePath: "/v1/responses",
  errorShape: "openai",
  parse(body) {
    const failure = isJsonObject(body) ? stateful(body) : null;
    return failure === null ? parse(body) : { ok: false, failure };
  },
  prepare,
  reader: (body, order) => new ResponsesReader(String(body.model), order),
  aggregator: (body, order) => new ResponsesAggregator(String(body.model), order),
  wholeUsage: (answer) => (isJsonObject(answer.usage) ? responsesUsage(answer.usage) : null),
};
