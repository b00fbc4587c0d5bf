import type { OriginOrder } from "../contract/origin-token.ts";
import type { Usage } from "../contract/report.ts";
import type { Failure } from "../errors.ts";
import type { JsonObject, StreamReader, StreamStep } from "./endpoint.ts";
import {
  broken,
  DONE,
  dataFrame,
  type EngineEnd,
  ended,
  frameOf,
  NOTHING,
  openaiError,
  tokensOf,
  withModel,
  withoutUsage,
} from "./frames.ts";
import { createdSeconds, numberOf } from "./order.ts";
import { isJsonObject } from "./schema.ts";
import type { SseEvent } from "./sse.ts";

/** How the two endpoints whose frames hold `choices` differ. */
export interface ChoiceFormat {
  readonly object: string;
  readonly idPrefix: string;
  /** A choice's first frame when the engine sent none yet; null where there is no such frame. */
  opening(index: number): JsonObject | null;
  /** What stands for text in a choice. */
  said(text: string): JsonObject;
  /** A choice's last frame, with `finish_reason: "length"`. */
  closing(index: number): JsonObject;
}

/** What a request says about its stream. */
export interface ChoicePlan {
  /** Sequences in all, and per prompt: a list of prompts numbers its choices prompt by prompt. */
  readonly choices: number;
  readonly choicesPerPrompt: number;
  readonly model: string;
  readonly wantsUsage: boolean;
  readonly wantsContinuousUsage: boolean;
}

/** Reads what the client asked to see of its own body. */
export function choicePlan(body: JsonObject, prompts: number): ChoicePlan {
  const choicesPerPrompt = numberOf(body.n) ?? 1;
  const options = isJsonObject(body.stream_options) ? body.stream_options : {};
  const wantsUsage = options.include_usage === true;
  return {
    choices: choicesPerPrompt * prompts,
    choicesPerPrompt,
    model: String(body.model),
    wantsUsage,
    wantsContinuousUsage: wantsUsage && options.continuous_usage_stats === true,
  };
}

/** An engine that stops by itself names one of these; `abort` and `error` are failures in a proper frame's dress. */
const FAILED_FINISHES = new Set(["abort", "error"]);

interface Sequence {
  finished: boolean;
  opened: boolean;
  outputTokens: number;
}

/**
 * Reads the streams of /v1/chat/completions and /v1/completions. The engine sends usage with every frame
 * (`continuous_usage_stats`): per choice its own output and its prompt, and a last frame with the sums. A frame
 * without usage, from an engine that knows no such option, counts as one token.
 */
export class ChoiceReader implements StreamReader {
  readonly format: ChoiceFormat;
  readonly plan: ChoicePlan;
  readonly order: OriginOrder;
  /** The latest frame; its id, time and name go into frames of our own. */
  protected last: JsonObject | null = null;
  protected finalUsage: JsonObject | null = null;
  protected stopped = false;
  #end: "complete" | EngineEnd | null = null;
  #unfinished: number;
  readonly #sequences: Sequence[];
  readonly #promptTokens: (number | null)[];
  #cachedTokens = 0;
  /** Output tokens when the last text was there: those since may be a part of a character. */
  #textTokens = 0;

  constructor(format: ChoiceFormat, plan: ChoicePlan, order: OriginOrder) {
    this.format = format;
    this.plan = plan;
    this.order = order;
    this.#unfinished = plan.choices;
    this.#sequences = Array.from({ length: plan.choices }, () => {
      return { finished: false, opened: false, outputTokens: 0 };
    });
    this.#promptTokens = new Array<number | null>(plan.choices / plan.choicesPerPrompt).fill(null);
  }

  get promptKnown(): boolean {
    return this.#promptTokens.every((tokens) => tokens !== null);
  }

  get complete(): boolean {
    return this.#end === "complete";
  }

  usage(): Usage {
    let promptTokens = 0;
    for (const tokens of this.#promptTokens) promptTokens += tokens ?? 0;
    let outputTokens = 0;
    for (const sequence of this.#sequences) outputTokens += sequence.outputTokens;
    if (this.finalUsage !== null) {
      promptTokens = tokensOf(this.finalUsage.prompt_tokens) ?? promptTokens;
      outputTokens = tokensOf(this.finalUsage.completion_tokens) ?? outputTokens;
    }
    return { promptTokens, cachedTokens: Math.min(this.#cachedTokens, promptTokens), outputTokens };
  }

  delivered(): Usage | null {
    return this.promptKnown ? { ...this.usage(), outputTokens: this.#textTokens } : null;
  }

  told(): Usage | null {
    return this.delivered();
  }

  take(event: SseEvent): StreamStep {
    if (this.stopped) return NOTHING;
    if (this.#end !== null) return ended(this.#end);
    if (event.comment) return { forward: this.passComment(event.raw), progressed: false };
    if (event.data === "[DONE]") {
      if (this.#unfinished > 0) return this.#fail(broken("[DONE] before every choice had a finish reason"));
      this.#end = "complete";
      return ended("complete", this.passComment(event.raw));
    }
    const read = frameOf(event);
    if ("end" in read) return this.#fail(read.end);
    return this.#takeFrame(event, read.frame);
  }

  stopNow(): string {
    if (this.stopped || this.#end !== null) return "";
    this.stopped = true;
    const head = this.head();
    let frames = "";
    for (const [index, sequence] of this.#sequences.entries()) {
      const opening = sequence.opened ? null : this.format.opening(index);
      if (opening !== null) frames += dataFrame({ ...head, choices: [opening] });
      if (sequence.finished) continue;
      const usage = this.plan.wantsContinuousUsage
        ? { usage: usageJson({ ...this.shownUsage(), outputTokens: sequence.outputTokens }) }
        : {};
      frames += dataFrame({ ...head, choices: [this.format.closing(index)], ...usage });
    }
    if (this.plan.wantsUsage && this.finalUsage === null) {
      frames += dataFrame({ ...head, choices: [], usage: usageJson(this.shownUsage()) });
    }
    return frames + DONE;
  }

  failNow(failure: Failure): string {
    return openaiError(failure);
  }

  /** What the client gets to see of a frame. */
  protected pass(event: SseEvent, frame: JsonObject): string {
    const hasUsage = isJsonObject(frame.usage);
    const usageOnly = hasUsage && (frame.choices as unknown[]).length === 0;
    if (usageOnly && !this.plan.wantsUsage) return "";
    let raw = event.raw;
    if (hasUsage && !usageOnly && !this.plan.wantsContinuousUsage) {
      raw = withoutUsage(raw) ?? rewritten(frame);
    }
    return frame.model === this.plan.model ? raw : withModel(raw, this.plan.model);
  }

  protected passComment(raw: string): string {
    return raw;
  }

  /** Tells of each choice that a frame carried; a text is the reason why the stream cannot be used. */
  protected keep(_choice: JsonObject): string | null {
    return null;
  }

  /** The fields that every frame of this stream has in front. */
  protected head(): JsonObject {
    return {
      id: this.last?.id ?? `${this.format.idPrefix}${this.order.requestId}`,
      object: this.format.object,
      created: this.last?.created ?? createdSeconds(this.order),
      model: this.plan.model,
    };
  }

  /** Usage as told to the client, who gets the estimate where the engine never told the prompt. */
  protected shownUsage(): Usage {
    const usage = this.usage();
    return this.promptKnown ? usage : { ...usage, promptTokens: this.order.estimatedPromptTokens };
  }

  #takeFrame(event: SseEvent, frame: JsonObject): StreamStep {
    if (!Array.isArray(frame.choices)) return this.#fail(broken("a frame without choices"));
    this.last = frame;
    const usage = isJsonObject(frame.usage) ? frame.usage : null;
    for (const choice of frame.choices as unknown[]) {
      const why = isJsonObject(choice) ? this.#takeChoice(choice, usage) : "a choice that is no object";
      if (why !== null) return this.#fail(broken(why));
    }
    const progressed = frame.choices.length > 0;
    if (!progressed && usage !== null) this.finalUsage = usage;
    if (usage !== null && isJsonObject(usage.prompt_tokens_details)) {
      this.#cachedTokens = tokensOf(usage.prompt_tokens_details.cached_tokens) ?? this.#cachedTokens;
    }
    return { forward: this.pass(event, frame), progressed };
  }

  /** Null, or why the stream cannot be used. */
  #takeChoice(choice: JsonObject, usage: JsonObject | null): string | null {
    const index = numberOf(choice.index) ?? -1;
    const sequence = this.#sequences[index];
    if (sequence === undefined) return "a choice that nobody asked for";
    const isOpening = isJsonObject(choice.delta) && typeof choice.delta.role === "string";
    sequence.opened = true;
    const counted = usage === null ? null : tokensOf(usage.completion_tokens);
    if (counted !== null) sequence.outputTokens = counted;
    else if (!isOpening) sequence.outputTokens += 1;
    const promptTokens = usage === null ? null : tokensOf(usage.prompt_tokens);
    if (promptTokens !== null) {
      this.#promptTokens[Math.floor(index / this.plan.choicesPerPrompt)] = promptTokens;
    }
    const finish = choice.finish_reason;
    if ((textOf(choice) ?? "") !== "" || typeof finish === "string") {
      this.#textTokens = this.usage().outputTokens;
    }
    if (typeof finish === "string" && !sequence.finished) {
      if (FAILED_FINISHES.has(finish)) return `the engine ended it with finish_reason ${finish}`;
      sequence.finished = true;
      this.#unfinished -= 1;
    }
    return this.keep(choice);
  }

  #fail(end: EngineEnd): StreamStep {
    this.#end = end;
    return ended(end);
  }
}

/** The text that a choice carries, or null. */
export function textOf(choice: JsonObject): string | null {
  const text = isJsonObject(choice.delta) ? choice.delta.content : choice.text;
  return typeof text === "string" ? text : null;
}

function rewritten(frame: JsonObject): string {
  const { usage: _usage, ...rest } = frame;
  return dataFrame(rest);
}

/** As vLLM orders it. */
export function usageJson(usage: Usage): JsonObject {
  return {
    prompt_tokens: usage.promptTokens,
    total_tokens: usage.promptTokens + usage.outputTokens,
    completion_tokens: usage.outputTokens,
  };
}

/** Usage of a whole answer of chat, completions, embeddings, rerank and score. */
export function usageOfWhole(answer: JsonObject): Usage | null {
  const usage = isJsonObject(answer.usage) ? answer.usage : null;
  const promptTokens = usage === null ? null : tokensOf(usage.prompt_tokens);
  if (usage === null || promptTokens === null) return null;
  const details = isJsonObject(usage.prompt_tokens_details) ? usage.prompt_tokens_details : {};
  const cachedTokens = Math.min(promptTokens, tokensOf(details.cached_tokens) ?? 0);
  return { promptTokens, cachedTokens, outputTokens: tokensOf(usage.completion_tokens) ?? 0 };
}
