/** What the three chat APIs have in common: a request body in the chat shape becomes prompt, choices and parser. */
import { ProseSpeaker, ScriptSpeaker } from "../model/language.ts";
import { type PlainMessage, renderChat } from "../model/template.ts";
import type { ReplicaOptions } from "../options.ts";
import { lastUserText, readMessages, readOpening } from "./conversation.ts";
import { type DeltaParser, HermesParser, PlainParser } from "./delta-parser.ts";
import { badRequest } from "./errors.ts";
import type { Choice } from "./plan.ts";
import { type CommonFields, checkLengths, readCommon, readSampling } from "./sampling.ts";
import { constrainedText } from "./structured.ts";
import { readTools, type ToolUse, toolPrompt } from "./tools.ts";
import { type Body, optional } from "./validate.ts";

export type ChatRequest = {
  readonly common: CommonFields;
  readonly promptIds: readonly number[];
  readonly choices: readonly Choice[];
  readonly tools: ToolUse;
  /** The answer's role: that of the continued message where there is one. */
  readonly role: string;
  /** The continued message's text, which `echo` repeats. */
  readonly openText: string;
  readonly newParser: () => DeltaParser;
  readonly maxTokens: number;
};

/** Reads a chat body. `limitName` is the field that bounds the answer. Throws `ApiError`. */
export function readChat(body: Body, options: ReplicaOptions): ChatRequest {
  const common = readCommon(body);
  const logprobs = readLogprobs(body);
  const open = readOpening(body);
  const messages = readMessages(body, options);
  const tools = readTools(body, lastUserText(messages), options);
  const promptIds = renderPrompt(messages, tools, open);

  const limit = readLimit(body);
  checkLengths(promptIds.length, limit, options.maxModelLen);
  const maxTokens = Math.min(limit.tokens ?? options.maxModelLen, options.maxModelLen - promptIds.length);
  const sampling = readSampling(body, maxTokens, logprobs, common.n);
  const script = tools.call ?? constrainedText(body);
  const last = messages.at(-1)!;
  return {
    common,
    promptIds,
    choices: Array.from({ length: common.n }, (_, index) => ({
      index,
      promptIds,
      sampling,
      speaker: () => (script === undefined ? new ProseSpeaker(promptIds, index) : new ScriptSpeaker(script)),
    })),
    tools,
    role: open === "answer" ? "assistant" : last.role,
    openText: open === "answer" ? "" : last.content,
    newParser: () => (options.enableAutoToolChoice ? new HermesParser() : new PlainParser()),
    maxTokens,
  };
}

function renderPrompt(
  messages: readonly PlainMessage[],
  tools: ToolUse,
  open: "answer" | "continue" | "none",
): number[] {
  const shown =
    tools.tools.length === 0 ? messages : [{ role: "system", content: toolPrompt(tools.tools) }, ...messages];
  return renderChat(shown, open);
}

function readLimit(body: Body): { name: string; tokens: number | undefined } {
  const newer = optional.integer(body, "max_completion_tokens");
  if (newer !== undefined) return { name: "max_completion_tokens", tokens: newer };
  return { name: "max_tokens", tokens: optional.integer(body, "max_tokens") };
}

function readLogprobs(body: Body): number | undefined {
  const wanted = optional.boolean(body, "logprobs") ?? false;
  const top = optional.integer(body, "top_logprobs");
  if (top !== undefined && top < 0 && top !== -1) {
    throw badRequest("`top_logprobs` must be a positive value or -1.", "top_logprobs", top);
  }
  if (top !== undefined && top !== 0 && !wanted) {
    throw badRequest("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs");
  }
  return wanted ? (top ?? 0) : undefined;
}
