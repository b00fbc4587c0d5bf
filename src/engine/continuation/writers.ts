import type { Continuation } from "../../contract/continuation.ts";
import type { OriginOrder } from "../../contract/origin-token.ts";
import type { Usage } from "../../contract/report.ts";
import { errorBody, type Failure, told } from "../../errors.ts";
import { choicePlan, usageJson } from "../choices.ts";
import type { EndpointId, JsonObject } from "../endpoint.ts";
import { DONE, dataFrame, namedFrame, openaiError } from "../frames.ts";
import { createdSeconds } from "../order.ts";
import { leastResponse } from "../responses-stream.ts";

/**
 * Writes the rest of a stream in its endpoint's own events, with the id and the time that the client knows. `opening`
 * and `closing` are all events of that kind in their order; those that the client has are skipped by the caller.
 */
export interface ContinuationWriter {
  opening(usage: Usage): readonly string[];
  text(piece: string, usage: Usage): string;
  closing(end: End): readonly string[];
  fail(failure: Failure): string;
}

export interface End {
  /** As chat says it: `stop` or `length`. */
  readonly reason: string;
  /** The stop string or token that ended it, as chat says it; null where none did. */
  readonly stopReason: unknown;
  /** All of the answer's text, what the first engine said included. */
  readonly text: string;
  readonly usage: Usage;
}

export function continuationWriter(
  endpoint: EndpointId,
  body: JsonObject,
  order: OriginOrder,
  from: Continuation,
): ContinuationWriter {
  const known: Known = {
    id: from.id ?? `${endpoint === "completions" ? "cmpl" : "chatcmpl"}-${order.requestId}`,
    created: from.created ?? createdSeconds(order),
    model: String(body.model),
  };
  switch (endpoint) {
    case "chat":
      return choiceWriter(known, body, "chat.completion.chunk", (text) => ({ delta: { content: text } }));
    case "completions":
      return choiceWriter(known, body, "text_completion", (text) => ({ text }));
    case "messages":
      return messageWriter(known);
    case "responses":
      return responseWriter(from, from.response ?? begun(body, order), known.model);
    default:
      throw new Error(`${endpoint} cannot be carried on`);
  }
}

interface Known {
  readonly id: string;
  readonly created: number;
  readonly model: string;
}

function choiceWriter(
  { id, created, model }: Known,
  body: JsonObject,
  object: string,
  said: (text: string) => JsonObject,
): ContinuationWriter {
  const { wantsUsage, wantsContinuousUsage } = choicePlan(body, 1);
  const frame = (choice: JsonObject | null, usage: Usage | null) =>
    dataFrame({
      ...{ id, object, created, model },
      choices: choice === null ? [] : [choice],
      ...(usage === null ? {} : { usage: usageJson(usage) }),
    });
  const running = (usage: Usage) => (wantsContinuousUsage ? usage : null);
  const isChat = object === "chat.completion.chunk";
  const role = { index: 0, delta: { role: "assistant", content: "" }, logprobs: null, finish_reason: null };
  return {
    opening: () => [isChat ? frame(role, null) : ""],
    text: (piece, usage) =>
      frame({ index: 0, ...said(piece), logprobs: null, finish_reason: null }, running(usage)),
    closing: ({ reason, stopReason, usage }) => [
      frame(
        { index: 0, ...said(""), logprobs: null, finish_reason: reason, stop_reason: stopReason },
        running(usage),
      ),
      wantsUsage ? frame(null, usage) : "",
      DONE,
    ],
    fail: openaiError,
  };
}

function messageWriter({ id, model }: Known): ContinuationWriter {
  const event = (value: { readonly type: string } & JsonObject) => namedFrame(value.type, value);
  const head = { id, type: "message", role: "assistant", content: [], model };
  return {
    opening: ({ promptTokens }) => [
      event({
        type: "message_start",
        message: {
          ...{ ...head, stop_reason: null, stop_sequence: null },
          usage: { input_tokens: promptTokens, output_tokens: 0 },
        },
      }),
      event({ type: "content_block_start", content_block: { type: "text", text: "" }, index: 0 }),
    ],
    text: (text) => event({ type: "content_block_delta", delta: { type: "text_delta", text }, index: 0 }),
    closing: ({ reason, stopReason, usage: { promptTokens, outputTokens } }) => [
      event({ type: "content_block_stop", index: 0 }),
      event({
        type: "message_delta",
        delta: anthropicStop(reason, stopReason),
        usage: { input_tokens: promptTokens, output_tokens: outputTokens },
      }),
      event({ type: "message_stop" }),
    ],
    fail: (failure) => namedFrame("error", errorBody(failure, "anthropic")),
  };
}

/** As vLLM tells it: a limit first, then a stop string. */
function anthropicStop(reason: string, stopReason: unknown): JsonObject {
  if (reason === "length") return { stop_reason: "max_tokens", stop_sequence: null };
  if (typeof stopReason === "string") return { stop_reason: "stop_sequence", stop_sequence: stopReason };
  return { stop_reason: "end_turn", stop_sequence: null };
}

function responseWriter(from: Continuation, response: JsonObject, model: string): ContinuationWriter {
  let sequence = from.sequence;
  const event = (type: string, fields: JsonObject) => {
    sequence += 1;
    return namedFrame(type, { ...fields, sequence_number: sequence, type });
  };
  const item_id = from.itemId ?? `msg_${String(response.id).replace("resp_", "")}`;
  const item = (status: string, content: unknown[]) => {
    return { id: item_id, content, role: "assistant", status, type: "message", phase: null };
  };
  const at = { content_index: 0, item_id, output_index: 0 };
  const part = (text: string) => ({ annotations: [], text, type: "output_text", logprobs: null });
  // Numbers are given as events are made, so those that the client has must not be made at all.
  const unless = (have: boolean, make: () => string) => (have ? "" : make());
  return {
    opening: () => [
      unless(from.opened > 0, () => event("response.created", { response })),
      unless(from.opened > 1, () => event("response.in_progress", { response })),
      unless(from.opened > 2, () =>
        event("response.output_item.added", { item: item("in_progress", []), output_index: 0 }),
      ),
      unless(from.opened > 3, () => event("response.content_part.added", { ...at, part: part("") })),
    ],
    text: (delta) => event("response.output_text.delta", { ...at, delta, logprobs: [] }),
    closing: ({ reason, text, usage }) => {
      const done = item("completed", [part(text)]);
      return [
        unless(from.closed > 0, () => event("response.output_text.done", { ...at, logprobs: [], text })),
        unless(from.closed > 1, () => event("response.content_part.done", { ...at, part: part(text) })),
        unless(from.closed > 2, () => event("response.output_item.done", { item: done, output_index: 0 })),
        event("response.completed", { response: responseOf(response, model, reason, done, usage) }),
      ];
    },
    fail(failure) {
      const { code, message, param } = told(failure);
      return event("error", { code, message, param: param ?? null });
    },
  };
}

/** A response that is begun here, with what its client asked for as vLLM repeats it. */
function begun(body: JsonObject, order: OriginOrder): JsonObject {
  const { instructions = null, max_output_tokens = null, temperature = 1, top_p = 1 } = body;
  const asked = { instructions, max_output_tokens, temperature, top_p };
  return { ...leastResponse(order, String(body.model)), ...asked, metadata: null, background: false };
}

function responseOf(
  response: JsonObject,
  model: string,
  reason: string,
  item: JsonObject,
  { promptTokens, outputTokens }: Usage,
): JsonObject {
  const cut = reason === "length";
  return {
    ...response,
    model,
    status: cut ? "incomplete" : "completed",
    incomplete_details: cut ? { reason: "max_output_tokens" } : null,
    output: [item],
    usage: {
      input_tokens: promptTokens,
      input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
      output_tokens: outputTokens,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: promptTokens + outputTokens,
    },
  };
}
