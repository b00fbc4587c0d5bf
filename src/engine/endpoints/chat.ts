import { z } from "zod";
import { MESSAGES_MAX, OUTPUT_TOKENS_MAX, TOOLS_MAX } from "../../bounds.ts";
import type { OriginOrder } from "../../contract/origin-token.ts";
import type { Failure } from "../../errors.ts";
import { type ChoiceFormat, choicePlan, usageOfWhole } from "../choices.ts";
import { chatMessage, functionTool, PromptMeter } from "../content.ts";
import type { Call, Endpoint, JsonObject, Mode, Prepared } from "../endpoint.ts";
import {
  choices,
  engineForbidden,
  flag,
  integer,
  modelName,
  name,
  openaiStripped,
  outputTokens,
  responseFormat,
  sampling,
  streamOptions,
  topLogprobs,
} from "../fields.ts";
import { choiceReader, showStops } from "../held-choices.ts";
import { applyOrder, clampOutput, engineFields, metered, numberOf } from "../order.ts";
import { endUserOf, parser } from "../parse.ts";
import { freeJson, invalid, isJsonObject, list, type RequestFields } from "../schema.ts";
import { ChoiceAggregator } from "../whole.ts";

/** POST /v1/chat/completions. Fields and reasons: docs/endpoints.md. */

export const toolChoice = z.union([
  z.enum(["none", "auto", "required"]),
  z.strictObject({ type: z.literal("function"), function: z.strictObject({ name }) }),
]);

const NO_OUTPUT_AUDIO = "the engines answer in text only.";
const OLD_FUNCTIONS = "use 'tools' and 'tool_choice'.";

export const chatFields: RequestFields = {
  passes: {
    ...sampling,
    model: modelName,
    messages: list(chatMessage, MESSAGES_MAX, 1),
    max_tokens: outputTokens,
    max_completion_tokens: outputTokens,
    n: choices,
    stream: flag,
    stream_options: streamOptions,
    logprobs: flag,
    top_logprobs: topLogprobs,
    response_format: responseFormat,
    tools: list(functionTool, TOOLS_MAX, 1).nullish(),
    tool_choice: toolChoice.nullish(),
    parallel_tool_calls: flag,
    reasoning_effort: z.enum(["none", "minimal", "low", "medium", "high", "xhigh", "max"]).nullish(),
    include_reasoning: flag,
    thinking_token_budget: integer(0, OUTPUT_TOKENS_MAX),
  },
  stripped: {
    ...openaiStripped,
    verbosity: z.enum(["low", "medium", "high"]).nullish(),
    prediction: freeJson.nullish(),
    modalities: list(z.literal("text"), 1).nullish(),
  },
  forbidden: {
    ...engineForbidden,
    add_special_tokens: "the model's own chat template is used as it is.",
    audio: NO_OUTPUT_AUDIO,
    web_search_options: "tools that run on the server are not available; send your own as 'tools'.",
    functions: OLD_FUNCTIONS,
    function_call: OLD_FUNCTIONS,
    moderation: "nothing here moderates.",
  },
};

function inconsistent(body: JsonObject): Failure | null {
  if (body.stream !== true && isJsonObject(body.stream_options)) {
    return invalid("stream_options", "only with 'stream': true.");
  }
  if ((numberOf(body.top_logprobs) ?? 0) > 0 && body.logprobs !== true) {
    return invalid("top_logprobs", "only with 'logprobs': true.");
  }
  const most = outputLimit(body);
  if (most !== null && (numberOf(body.min_tokens) ?? 0) > most) {
    return invalid("min_tokens", `greater than the output limit of ${most}.`);
  }
  return null;
}

/** As the engine reads them: the newer name wins. */
function outputLimit(body: JsonObject): number | null {
  return numberOf(body.max_completion_tokens) ?? numberOf(body.max_tokens);
}

function callOf(body: JsonObject): Call {
  const meter = new PromptMeter();
  meter.addChat(body.messages as JsonObject[]);
  if (Array.isArray(body.tools)) meter.addJson(body.tools);
  return {
    endpoint: "chat",
    model: body.model as string,
    stream: body.stream === true,
    maxOutputTokens: outputLimit(body),
    choices: numberOf(body.n) ?? 1,
    measure: meter.text.measure(),
    fixedTokens: meter.fixedTokens,
    generates: true,
    atOnce: modeOf(body) === "whole",
    endUser: endUserOf(body),
  };
}

/**
 * Exact only where the answer is plain text: tool calls, logprobs and constrained output pass through engine code that
 * differs between a stream and one JSON, and hidden reasoning leaves no trace in a stream.
 */
function aggregates(body: JsonObject): boolean {
  const format = isJsonObject(body.response_format) ? body.response_format.type : "text";
  return (
    (numberOf(body.n) ?? 1) === 1 &&
    !Array.isArray(body.tools) &&
    body.logprobs !== true &&
    body.include_reasoning !== false &&
    format === "text"
  );
}

function modeOf(body: JsonObject): Mode {
  if (body.stream === true) return "stream";
  return aggregates(body) ? "aggregate" : "whole";
}

function prepare(body: JsonObject, order: OriginOrder): Prepared {
  const engine = applyOrder(engineFields(body, chatFields), order);
  delete engine.max_tokens;
  clampOutput(engine, "max_completion_tokens", outputLimit(body), order.maxOutputTokens);
  showStops(engine, order);
  return metered(engine, modeOf(body));
}

const format: ChoiceFormat = {
  object: "chat.completion.chunk",
  idPrefix: "chatcmpl-",
  opening: (index) => ({
    index,
    delta: { role: "assistant", content: "" },
    logprobs: null,
    finish_reason: null,
  }),
  said: (content) => ({ delta: { content } }),
  closing: (index) => ({
    index,
    delta: { content: "" },
    logprobs: null,
    finish_reason: "length",
    stop_reason: null,
  }),
};

class ChatAggregator extends ChoiceAggregator {
  readonly #content: string[] = [];
  readonly #reasoning: string[] = [];

  protected override keep(choice: JsonObject): string | null {
    const delta = isJsonObject(choice.delta) ? choice.delta : {};
    if (Array.isArray(delta.tool_calls) && delta.tool_calls.length > 0)
      return "a tool call that nobody asked for";
    if (typeof delta.content === "string") this.#content.push(delta.content);
    if (typeof delta.reasoning === "string") this.#reasoning.push(delta.reasoning);
    return super.keep(choice);
  }

  protected wholeChoice(finishReason: string, stopReason: unknown): JsonObject {
    const content = this.#content.join("");
    const reasoned = this.#reasoning.length > 0;
    const message = {
      role: "assistant",
      // An answer that is all reasoning has no content at all; one that is empty has an empty one.
      content: reasoned && content === "" ? null : content,
      refusal: null,
      annotations: null,
      audio: null,
      function_call: null,
      reasoning: reasoned ? this.#reasoning.join("") : null,
    };
    return {
      index: 0,
      message,
      logprobs: null,
      finish_reason: finishReason,
      stop_reason: stopReason,
      token_ids: null,
      routed_experts: null,
    };
  }

  protected wholeTail(): JsonObject {
    return { prompt_logprobs: null, prompt_token_ids: null, prompt_text: null };
  }
}

const wholeFormat: ChoiceFormat = { ...format, object: "chat.completion" };

export const chat: Endpoint = {
  id: "chat",
  path: "/v1/chat/completions",
  enginePath: "/v1/chat/completions",
  errorShape: "openai",
  parse: parser(chatFields, inconsistent, callOf),
  prepare,
  reader: (body, order) => choiceReader(format, choicePlan(body, 1), body, order),
  aggregator: (body, order) => new ChatAggregator(wholeFormat, choicePlan(body, 1), order),
  wholeUsage: usageOfWhole,
};
