import { z } from "zod";
import { CHOICES_MAX, TOP_LOGPROBS_MAX } from "../../bounds.ts";
import type { OriginOrder } from "../../contract/origin-token.ts";
import type { Failure } from "../../errors.ts";
import { type ChoiceFormat, choicePlan, usageOfWhole } from "../choices.ts";
import { PromptMeter } from "../content.ts";
import type { Call, Endpoint, JsonObject, Mode, Prepared } from "../endpoint.ts";
import {
  choices,
  engineForbidden,
  flag,
  integer,
  modelName,
  openaiStripped,
  outputTokens,
  responseFormat,
  sampling,
  streamOptions,
  text,
} from "../fields.ts";
import { choiceReader, showStops } from "../held-choices.ts";
import { applyOrder, clampOutput, engineFields, metered, numberOf } from "../order.ts";
import { endUserOf, parser } from "../parse.ts";
import { invalid, isJsonObject, list, PROMPT_TOKENS_MAX, type RequestFields, tokenIds } from "../schema.ts";
import { ChoiceAggregator } from "../whole.ts";

/** POST /v1/completions. Fields and reasons: docs/endpoints.md. */

/** What the engine takes when the client sets no limit, as OpenAI did. */
const DEFAULT_OUTPUT_TOKENS = 16;
/** The token that many tokenizers put in front of a text. */
const START_TOKENS = 1;

const prompt = z.union(
  [
    text.min(1),
    tokenIds(PROMPT_TOKENS_MAX, 1),
    list(text.min(1), CHOICES_MAX, 1),
    list(tokenIds(PROMPT_TOKENS_MAX, 1), CHOICES_MAX, 1),
  ],
  {
    message: `expected a text, token ids, or a list of at most ${CHOICES_MAX} of either; none of them empty`,
  },
);

export const completionsFields: RequestFields = {
  passes: {
    ...sampling,
    model: modelName,
    prompt,
    max_tokens: outputTokens,
    n: choices,
    stream: flag,
    stream_options: streamOptions,
    logprobs: integer(0, TOP_LOGPROBS_MAX),
    echo: flag,
    response_format: responseFormat,
    add_special_tokens: flag,
  },
  stripped: { ...openaiStripped, best_of: z.literal(1).nullish() },
  forbidden: {
    ...engineForbidden,
    suffix: "no engine here fills in the middle.",
    thinking_token_budget: "it belongs to /v1/chat/completions.",
  },
};

/** Prompts in the body: a list of token ids is one prompt, a list of texts or of such lists is many. */
function promptsOf(body: JsonObject): readonly (string | readonly number[])[] {
  if (!Array.isArray(body.prompt)) return [body.prompt as string];
  return typeof body.prompt[0] === "number"
    ? [body.prompt as number[]]
    : (body.prompt as string[] | number[][]);
}

function outputLimit(body: JsonObject): number {
  return numberOf(body.max_tokens) ?? DEFAULT_OUTPUT_TOKENS;
}

function inconsistent(body: JsonObject): Failure | null {
  if (body.stream !== true && isJsonObject(body.stream_options)) {
    return invalid("stream_options", "only with 'stream': true.");
  }
  if (body.echo === true && typeof body.logprobs === "number") {
    return invalid("logprobs", "not together with 'echo': the engine would compute the whole prompt again.");
  }
  if (promptsOf(body).length * (numberOf(body.n) ?? 1) > CHOICES_MAX) {
    return invalid("n", `prompts times 'n' may be at most ${CHOICES_MAX}.`);
  }
  if ((numberOf(body.min_tokens) ?? 0) > outputLimit(body)) {
    return invalid("min_tokens", `greater than the output limit of ${outputLimit(body)}.`);
  }
  return null;
}

function callOf(body: JsonObject): Call {
  const prompts = promptsOf(body);
  const meter = new PromptMeter();
  for (const one of prompts) meter.addPrompt(one, START_TOKENS);
  return {
    endpoint: "completions",
    model: body.model as string,
    stream: body.stream === true,
    maxOutputTokens: outputLimit(body),
    choices: prompts.length * (numberOf(body.n) ?? 1),
    measure: meter.text.measure(),
    fixedTokens: meter.fixedTokens,
    generates: true,
    atOnce: modeOf(body) === "whole",
    endUser: endUserOf(body),
  };
}

/** Exact only for one text of one prompt, without logprobs, echo or constrained output. */
function aggregates(body: JsonObject): boolean {
  const format = isJsonObject(body.response_format) ? body.response_format.type : "text";
  const single = promptsOf(body).length === 1 && (numberOf(body.n) ?? 1) === 1;
  return single && typeof body.logprobs !== "number" && body.echo !== true && format === "text";
}

function modeOf(body: JsonObject): Mode {
  if (body.stream === true) return "stream";
  return aggregates(body) ? "aggregate" : "whole";
}

function prepare(body: JsonObject, order: OriginOrder): Prepared {
  const engine = applyOrder(engineFields(body, completionsFields), order);
  clampOutput(engine, "max_tokens", outputLimit(body), order.maxOutputTokens);
  showStops(engine, order);
  return metered(engine, modeOf(body));
}

const format: ChoiceFormat = {
  object: "text_completion",
  idPrefix: "cmpl-",
  opening: () => null,
  said: (text) => ({ text }),
  closing: (index) => ({ index, text: "", logprobs: null, finish_reason: "length", stop_reason: null }),
};

class CompletionAggregator extends ChoiceAggregator {
  readonly #text: string[] = [];

  protected override keep(choice: JsonObject): string | null {
    if (typeof choice.text === "string") this.#text.push(choice.text);
    return super.keep(choice);
  }

  protected wholeChoice(finishReason: string, stopReason: unknown): JsonObject {
    return {
      index: 0,
      text: this.#text.join(""),
      logprobs: null,
      finish_reason: finishReason,
      stop_reason: stopReason,
      token_ids: null,
      prompt_logprobs: null,
      prompt_token_ids: null,
      routed_experts: null,
    };
  }

  protected wholeTail(): JsonObject {
    return {};
  }
}

export const completions: Endpoint = {
  id: "completions",
  path: "/v1/completions",
  enginePath: "/v1/completions",
  errorShape: "openai",
  parse: parser(completionsFields, inconsistent, callOf),
  prepare,
  reader: (body, order) => choiceReader(format, choicePlan(body, promptsOf(body).length), body, order),
  aggregator: (body, order) => new CompletionAggregator(format, choicePlan(body, 1), order),
  wholeUsage: usageOfWhole,
};
