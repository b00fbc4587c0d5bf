import type { Continuation } from "../../contract/continuation.ts";
import type { OriginOrder } from "../../contract/origin-token.ts";
import type { Usage } from "../../contract/report.ts";
import type { Failure } from "../../errors.ts";
import { type ChoiceFormat, ChoiceReader } from "../choices.ts";
import type { JsonObject, StreamStep } from "../endpoint.ts";
import { broken, ended } from "../frames.ts";
import { isJsonObject } from "../schema.ts";
import type { SseEvent } from "../sse.ts";
import type { ContinuationWriter } from "./writers.ts";

/** What the stream had cost when it broke off. */
export interface Before {
  readonly outputTokens: number;
  /** The original prompt's tokens; null: those of the second prompt, less `textTokens`. */
  readonly promptTokens: number | null;
  /** Tokens of the text that stands at the second prompt's end. */
  readonly textTokens: number;
}

/** Never sent: every event of this stream is made by the writer. */
const UNUSED: ChoiceFormat = { object: "", idPrefix: "", opening: () => null, closing: () => ({}) };

/**
 * Reads the stream of an engine that goes on where another broke off, always in the words of chat or completions, and
 * writes the rest of the client's stream. The second prompt is not the client's affair: `usage` has none of it.
 */
export class ContinuedReader extends ChoiceReader {
  readonly #writer: ContinuationWriter;
  readonly #from: Continuation;
  readonly #before: Before;
  readonly #pieces: string[];
  /** Characters that the client has already. */
  #skip: string;
  #piece = "";
  #opened = false;
  #reason = "stop";

  constructor(
    order: OriginOrder,
    model: string,
    writer: ContinuationWriter,
    from: Continuation,
    before: Before,
  ) {
    const plan = { choices: 1, choicesPerPrompt: 1, model, wantsUsage: false, wantsContinuousUsage: false };
    super(UNUSED, plan, order);
    this.#writer = writer;
    this.#from = from;
    this.#before = before;
    this.#pieces = [from.text];
    this.#skip = from.shown;
  }

  /** The client's prompt was paid for with the first attempt. */
  override get promptKnown(): boolean {
    return true;
  }

  override usage(): Usage {
    return { promptTokens: 0, cachedTokens: 0, outputTokens: super.usage().outputTokens };
  }

  /** The whole stream's usage, as the client sees it; null before the engine told its prompt. */
  whole(): Usage | null {
    const before = this.#before;
    const prompt = super.usage().promptTokens;
    if (before.promptTokens === null && prompt === 0) return null;
    const promptTokens = before.promptTokens ?? Math.max(0, prompt - before.textTokens);
    return {
      promptTokens,
      cachedTokens: 0,
      outputTokens: before.outputTokens + super.usage().outputTokens,
    };
  }

  override take(event: SseEvent): StreamStep {
    const step = super.take(event);
    if (this.#skip === "\u{0}") return ended(broken("the second engine did not repeat what was shown"));
    return step.end === "complete" ? ended("complete", this.#ending(this.#reason)) : step;
  }

  override stopNow(): string {
    if (this.stopped || this.complete) return "";
    super.stopNow();
    return this.#ending("length");
  }

  override failNow(failure: Failure): string {
    return this.#writer.fail(failure);
  }

  protected override passComment(): string {
    return "";
  }

  protected override keep(choice: JsonObject): string | null {
    const delta = isJsonObject(choice.delta) ? choice.delta : {};
    if (delta.reasoning) return "reasoning in the middle of an answer";
    const text = delta.content ?? choice.text;
    if (typeof text === "string") this.#piece += text;
    if (typeof choice.finish_reason === "string") this.#reason = choice.finish_reason;
    return null;
  }

  protected override pass(): string {
    const piece = this.#piece;
    this.#piece = "";
    if (piece === "") return "";
    this.#pieces.push(piece);
    const shown = this.#unshown(piece);
    return shown === "" ? "" : this.#opening() + this.#writer.text(shown, this.#shownWhole());
  }

  /** What of a piece the client does not have yet. */
  #unshown(piece: string): string {
    if (this.#skip === "") return piece;
    const common = Math.min(piece.length, this.#skip.length);
    if (piece.slice(0, common) !== this.#skip.slice(0, common)) {
      // No text holds this character: it marks the mismatch for `take`.
      this.#skip = "\u{0}";
      return "";
    }
    this.#skip = this.#skip.slice(common);
    return piece.slice(common);
  }

  #opening(): string {
    if (this.#opened) return "";
    this.#opened = true;
    return this.#writer.opening().slice(this.#from.opened).join("");
  }

  #ending(reason: string): string {
    const end = { reason, text: this.#pieces.join(""), usage: this.#shownWhole() };
    return this.#opening() + this.#writer.closing(end).slice(this.#from.closed).join("");
  }

  #shownWhole(): Usage {
    const whole = this.whole();
    if (whole !== null) return whole;
    const { outputTokens } = super.usage();
    const promptTokens = this.order.estimatedPromptTokens;
    return { promptTokens, cachedTokens: 0, outputTokens: this.#before.outputTokens + outputTokens };
  }
}
