import { type Continuation, openEnvelope } from "../contract/continuation.ts";
import type { Continued, OriginOrder } from "../contract/origin-token.ts";
import type { Usage, UsageReport } from "../contract/report.ts";
import { limitOf, prepareContinuation } from "../engine/continuation/prepare.ts";
import { ContinuedReader } from "../engine/continuation/reader.ts";
import { stopPlan } from "../engine/continuation/stops.ts";
import { continuationWriter } from "../engine/continuation/writers.ts";
import type { Endpoint, JsonObject } from "../engine/endpoint.ts";
import { type Ending, failed } from "./endings.ts";
import { countPrompt, type EngineAddress, tokenize } from "./prompt.ts";
import type { Answer } from "./relay/answer.ts";
import type { EngineErrorEnding } from "./relay/events.ts";
import { streamAnswer } from "./relay/stream.ts";

/** How a stream that broke off elsewhere goes on here. */
export type Carried =
  | {
      readonly kind: "relay";
      readonly path: string;
      readonly body: JsonObject;
      /** As the client sent it. */
      readonly client: JsonObject;
      readonly answer: Answer;
      /** What the attempt that broke off is to be billed, once it is known and if nobody else tells it. */
      before(): UsageReport | null;
    }
  /** No engine has to be asked: the text was complete, or its limit was reached. */
  | { readonly kind: "finished"; readonly text: string; readonly before: UsageReport | null }
  | { readonly kind: "failed"; readonly ending: Ending };

/**
 * Prepares what carries a stream on. Where the gate before had no last words, the tokens that the client has are counted
 * by their text, at the engine that goes on: its prompt then ends in just these.
 * @param envelope what the edge sent. Throws where it is none
 */
export async function carryOn(
  endpoint: Endpoint,
  envelope: JsonObject,
  order: OriginOrder & { readonly continues: Continued },
  engine: EngineAddress,
  engineError: EngineErrorEnding,
): Promise<Carried> {
  const opened = openEnvelope(envelope);
  if (opened === null) throw new Error("no envelope");
  const { continuation, body } = opened;
  const prepared = endpoint.prepare(body, order).body;
  const { told, paid } = order.continues;
  const ends = continuation.ends ?? null;
  const signal = AbortSignal.timeout(2_000);
  let textIds: readonly number[] = [];
  let promptIds: readonly number[] = [];
  try {
    const { model } = prepared;
    const prompt = told === null ? saidBy(continuation, body) : continuation.text;
    if (prompt !== "" && (told === null || endpoint.id === "completions")) {
      const question = { model, prompt, add_special_tokens: false };
      textIds = (await tokenize(engine, question, signal)).tokens;
    }
    if (endpoint.id === "completions") {
      const { prompt, add_special_tokens = true } = prepared;
      promptIds = Array.isArray(prompt)
        ? (prompt as number[])
        : (await tokenize(engine, { model, prompt, add_special_tokens }, signal)).tokens;
    }
  } catch {
    return { kind: "failed", ending: failed("what was said so far could not be counted") };
  }
  const outputTokens = told?.outputTokens ?? textIds.length;
  const limit = limitOf(prepared);
  const isOver = continuation.closed > 0 || ends !== null || (limit !== null && outputTokens >= limit);
  if (isOver) return finish(endpoint, body, prepared, order, continuation, outputTokens, engine);
  const reader = new ContinuedReader(
    order,
    String(body.model),
    continuationWriter(endpoint.id, body, order, continuation),
    continuation,
    { outputTokens, promptTokens: (told ?? paid)?.promptTokens ?? null, textTokens: textIds.length },
    stopPlan(body),
  );
  return {
    kind: "relay",
    client: body,
    ...prepareContinuation(endpoint, body, order, continuation.text, outputTokens, [
      ...promptIds,
      ...textIds,
    ]),
    answer: streamAnswer(reader, engineError),
    before() {
      const whole = told === null ? reader.whole() : null;
      return whole === null ? null : beforeReport(order, { ...whole, outputTokens });
    },
  };
}

/** What the engine had said by the cut, the stop string included that ended it and was not shown. */
function saidBy({ text, ends, stopReason }: Continuation, body: JsonObject): string {
  const stop = body.include_stop_str_in_output === true ? null : (ends?.stopReason ?? stopReason);
  return text + (ends?.text ?? "") + (stop ?? "");
}

/** Nothing of the stream is there yet. */
const NOTHING_YET: Continuation = {
  ...{ id: null, created: null, text: "", shown: "", opened: 0, closed: 0, finishReason: null },
  ...{ sequence: -1, itemId: null, response: null },
};

/**
 * A stream that is to be begun in the words of another endpoint, or null where its own serve. /v1/messages cannot show its
 * stop strings, /v1/responses tells its text once more at the end: one with stop strings is written from
 * /v1/chat/completions.
 */
export function beginConverted(
  endpoint: Endpoint,
  body: JsonObject,
  order: OriginOrder,
  engineError: EngineErrorEnding,
): { readonly path: string; readonly body: JsonObject; readonly answer: Answer } | null {
  const stops = stopPlan(body);
  const isToldTwice = endpoint.id === "messages" || endpoint.id === "responses";
  if (!isToldTwice || order.resumable !== true || stops === null) return null;
  const writer = continuationWriter(endpoint.id, body, order, NOTHING_YET);
  const reader = new ContinuedReader(order, String(body.model), writer, NOTHING_YET, null, stops);
  return {
    ...prepareContinuation(endpoint, body, order, "", 0, []),
    answer: streamAnswer(reader, engineError),
  };
}

/** Ends a stream to which no token is missing. */
async function finish(
  endpoint: Endpoint,
  body: JsonObject,
  prepared: JsonObject,
  order: OriginOrder & { readonly continues: Continued },
  continuation: Continuation,
  textTokens: number,
  engine: EngineAddress,
): Promise<Carried> {
  const limit = limitOf(prepared);
  const { told, paid } = order.continues;
  const promptTokens =
    (told ?? paid)?.promptTokens ?? (await countPrompt(endpoint.id, prepared, order, engine)).tokens;
  const reachedLimit = limit !== null && textTokens >= limit;
  const { ends = null } = continuation;
  const stopReason = ends?.stopReason ?? continuation.stopReason ?? null;
  const reason = continuation.finishReason ?? (reachedLimit && stopReason === null ? "length" : "stop");
  // The token that ends an answer by itself has no text, and counts.
  const silent = told === null && reason === "stop" && stopReason === null ? 1 : 0;
  // Nor has the part of a character that a limit may end in.
  const atLimit = told === null && reason === "length" && limit !== null;
  const outputTokens = atLimit ? Math.max(limit, textTokens) : textTokens + silent;
  const usage: Usage = { promptTokens, cachedTokens: 0, outputTokens };
  const writer = continuationWriter(endpoint.id, body, order, continuation);
  const rest = ends?.text ?? "";
  const end = { reason, stopReason, text: continuation.text + rest, usage };
  const text = [
    ...writer.opening(usage).slice(continuation.opened),
    rest === "" ? "" : writer.text(rest, usage),
    ...writer.closing(end).slice(continuation.closed),
  ];
  const { half = "" } = continuation;
  const whole = text.join("");
  if (!whole.startsWith(half)) {
    return { kind: "failed", ending: { ...failed("half an event of another form"), retryable: false } };
  }
  const isUnheardOf = told === null || order.continues.unreported === true;
  const before = isUnheardOf ? beforeReport(order, usage) : null;
  return { kind: "finished", text: whole.slice(half.length), before };
}

/**
 * Cumulative, so that it adds nothing to what the gate before could still report. An attempt that carried the stream on
 * itself is charged what came with it, and no prompt.
 */
function beforeReport(
  { continues: { ticket, paid } }: { readonly continues: Continued },
  whole: Usage,
): UsageReport {
  const outputTokens = Math.max(0, whole.outputTokens - (paid?.outputTokens ?? 0));
  const usage = paid === undefined ? whole : { promptTokens: 0, cachedTokens: 0, outputTokens };
  return { ticket, usage, final: true, outcome: "failed", carriedOn: true };
}
