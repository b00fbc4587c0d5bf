import { aside, type Continuation, endAside } from "../../contract/continuation.ts";
import type { OriginOrder } from "../../contract/origin-token.ts";
import type { Usage } from "../../contract/report.ts";
import type { Failure } from "../../errors.ts";
import { type ChoiceFormat, ChoiceReader, textOf } from "../choices.ts";
import type { JsonObject, StreamStep } from "../endpoint.ts";
import { broken, ended } from "../frames.ts";
import { isJsonObject } from "../schema.ts";
import type { SseEvent } from "../sse.ts";
import { type Let, StopHold, type StopPlan } from "./stops.ts";
import type { ContinuationWriter } from "./writers.ts";

/** What the stream had cost when it broke off; null where it did not: this engine begins it. */
export interface Before {
  readonly outputTokens: number;
  /** The original prompt's tokens; null: those of the second prompt, less `textTokens`. */
  readonly promptTokens: number | null;
  /** Tokens of the text that stands at the second prompt's end. */
  readonly textTokens: number;
}

/** Never sent: every event of this stream is made by the writer. */
const UNUSED: ChoiceFormat = {
  ...{ object: "", idPrefix: "", opening: () => null, said: () => ({}), closing: () => ({}) },
};

/**
 * Reads the stream of an engine that goes on where another broke off, always in the words of chat or completions, and
 * writes the rest of the client's stream. The second prompt is not the client's affair: `usage` has none of it.
 */
export class ContinuedReader extends ChoiceReader {
  readonly #writer: ContinuationWriter;
  readonly #from: Continuation;
  readonly #before: Before | null;
  readonly #pieces: string[];
  /** Characters that the client has already. */
  #skip: string;
  readonly #hold: StopHold | null;
  #piece = "";
  #opened = false;
  #reason = "stop";
  #stopReason: unknown = null;
  /** A stop string began in the text before the cut and has ended in this one. */
  #straddles = false;
  #endIsTold = false;
  /** Output tokens, of this engine alone, up to the last text that was let go, and to the last that was passed on. */
  #freeTokens = 0;
  #passedTokens = 0;
  /** The same up to the frame before. */
  #seenTokens = 0;

  constructor(
    order: OriginOrder,
    model: string,
    writer: ContinuationWriter,
    from: Continuation,
    before: Before | null,
    stops: StopPlan | null,
  ) {
    const plan = { choices: 1, choicesPerPrompt: 1, model, wantsUsage: false, wantsContinuousUsage: false };
    super(UNUSED, plan, order);
    this.#writer = writer;
    this.#from = from;
    this.#before = before;
    this.#pieces = [from.text];
    this.#skip = from.shown;
    this.#hold = stops === null ? null : new StopHold(stops, from.text);
  }

  /** The client's prompt was paid for with the first attempt. */
  override get promptKnown(): boolean {
    return this.#before !== null || super.promptKnown;
  }

  override usage(): Usage {
    const usage = super.usage();
    return this.#before === null ? usage : { ...usage, promptTokens: 0, cachedTokens: 0 };
  }

  override delivered(): Usage | null {
    return this.promptKnown ? { ...this.usage(), outputTokens: this.#passedTokens } : null;
  }

  override told(): Usage | null {
    const whole = this.whole();
    return whole === null ? null : { ...whole, outputTokens: this.#outputBefore + this.#passedTokens };
  }

  /** The whole stream's usage, as the client sees it; null before the engine told its prompt. */
  whole(): Usage | null {
    const before = this.#before;
    const { promptTokens: prompt, outputTokens } = super.usage();
    if ((before?.promptTokens ?? null) === null && prompt === 0) return null;
    const promptTokens = before?.promptTokens ?? Math.max(0, prompt - (before?.textTokens ?? 0));
    return { promptTokens, cachedTokens: 0, outputTokens: this.#outputBefore + outputTokens };
  }

  get #outputBefore(): number {
    return this.#before?.outputTokens ?? 0;
  }

  override take(event: SseEvent): StreamStep {
    const step = super.take(event);
    if (this.#skip === "\u{0}") return ended(broken("the second engine did not repeat what was shown"));
    if (this.#straddles)
      return { ...ended("complete", step.forward + this.#ending("stop"), true), enough: true };
    return step.end === "complete" ? ended("complete", this.#ending(this.#reason)) : step;
  }

  override stopNow(): string {
    if (this.stopped || this.complete) return "";
    super.stopNow();
    return this.#pass(this.#hold?.end("", 0, null)?.text ?? "") + this.#ending("length");
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
    const text = textOf(choice) ?? "";
    if (typeof choice.finish_reason === "string") {
      this.#reason = choice.finish_reason;
      this.#stopReason = choice.stop_reason ?? null;
    }
    this.#piece = this.#free(text, typeof choice.finish_reason === "string");
    return null;
  }

  protected override pass(): string {
    const piece = this.#piece;
    this.#piece = "";
    return (piece === "" ? "" : this.#endTold(piece)) + this.#pass(piece);
  }

  /**
   * Tells the edge of an end by a stop string before it is sent. Its last text may end inside a token, after which no
   * engine could go on; and in most formats it comes in an event of its own, so a cut may fall before the reason.
   */
  #endTold(text: string): string {
    if (typeof this.#stopReason !== "string") return "";
    this.#endIsTold = true;
    return endAside(this.#stopReason, text, this.whole());
  }

  /** What of a frame's text may be passed on, with what was held back before. */
  #free(text: string, finished: boolean): string {
    const tokens = super.usage().outputTokens;
    const straddle = this.#hold?.straddles(text, this.#outputBefore + this.#seenTokens) ?? null;
    this.#seenTokens = tokens;
    if (straddle !== null) {
      this.#straddles = true;
      this.#stopReason = straddle.stop;
    }
    let free: Let = text === "" ? null : { text, tokens };
    if (straddle !== null) free = { text: straddle.shown, tokens };
    else if (finished && this.#hold !== null) free = this.#hold.end(text, tokens, this.#stopReason);
    else if (this.#hold !== null) free = this.#hold.push(text, tokens);
    // A stop string that leaves nothing to show is no part of what the client has: its end is told later, at `[DONE]`.
    if (free === null || free.text === "") return "";
    this.#freeTokens = free.tokens;
    return free.text;
  }

  #pass(piece: string): string {
    if (piece === "") return "";
    this.#pieces.push(piece);
    const shown = this.#unshown(piece);
    if (shown !== "") this.#passedTokens = this.#freeTokens;
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
    // Should this gate die without last words, the next one has to know what is on this one's bill.
    const paid = this.#before === null ? "" : this.#paid();
    return paid + this.#writer.opening(this.#shownWhole()).slice(this.#from.opened).join("");
  }

  #paid(): string {
    const { promptTokens } = this.#shownWhole();
    return aside({ paid: { promptTokens, outputTokens: this.#outputBefore } });
  }

  #ending(reason: string): string {
    this.#passedTokens = super.usage().outputTokens;
    const stopReason = reason === "stop" ? this.#stopReason : null;
    const end = { reason, stopReason, text: this.#pieces.join(""), usage: this.#shownWhole() };
    // With text it was told before that.
    const told = this.#endIsTold ? "" : this.#endTold("");
    return told + this.#opening() + this.#writer.closing(end).slice(this.#from.closed).join("");
  }

  #shownWhole(): Usage {
    const whole = this.whole();
    if (whole !== null) return whole;
    const { outputTokens } = super.usage();
    const promptTokens = this.order.estimatedPromptTokens;
    return { promptTokens, cachedTokens: 0, outputTokens: this.#outputBefore + outputTokens };
  }
}
