import { endAside } from "../contract/continuation.ts";
import type { OriginOrder } from "../contract/origin-token.ts";
import type { Usage } from "../contract/report.ts";
import { type ChoiceFormat, type ChoicePlan, ChoiceReader, textOf } from "./choices.ts";
import { StopHold, type StopPlan, stopPlan } from "./continuation/stops.ts";
import type { JsonObject } from "./endpoint.ts";
import { dataFrame } from "./frames.ts";
import { isJsonObject } from "./schema.ts";
import type { SseEvent } from "./sse.ts";

/** Asks the engine to show its stop strings, where the gate holds back in its place (continuation/stops.ts). */
export function showStops(engine: JsonObject, order: OriginOrder): void {
  if (order.resumable === true && stopPlan(engine) !== null) engine.include_stop_str_in_output = true;
}

/** The reader of a stream of choices, as its order demands. */
export function choiceReader(
  format: ChoiceFormat,
  plan: ChoicePlan,
  body: JsonObject,
  order: OriginOrder,
): ChoiceReader {
  const stops = order.resumable === true ? stopPlan(body) : null;
  return stops === null
    ? new ChoiceReader(format, plan, order)
    : new StopHoldingReader(format, plan, order, stops);
}

/** Reads a stream that shows its stop strings, and passes on what cannot become one: whole frames, or their sum. */
class StopHoldingReader extends ChoiceReader {
  readonly #hold: StopHold;
  #passedTokens = 0;

  constructor(format: ChoiceFormat, plan: ChoicePlan, order: OriginOrder, stops: StopPlan) {
    if (plan.choices !== 1) throw new Error("what several choices say cannot be held back together");
    super(format, plan, order);
    this.#hold = new StopHold(stops);
  }

  /** What is held back nobody got yet. */
  override delivered(): Usage | null {
    const delivered = super.delivered();
    return delivered === null ? null : { ...delivered, outputTokens: this.#passedTokens };
  }

  override stopNow(): string {
    if (this.stopped || this.complete) return "";
    const rest = this.#hold.end("", 0, null)?.text ?? "";
    const choice = { index: 0, ...this.format.said(rest), logprobs: null, finish_reason: null };
    const held = rest === "" ? "" : dataFrame({ ...this.head(), choices: [choice] });
    return held + super.stopNow();
  }

  protected override pass(event: SseEvent, frame: JsonObject): string {
    const [choice] = frame.choices as unknown[];
    const text = isJsonObject(choice) ? textOf(choice) : null;
    if (!isJsonObject(choice)) return super.pass(event, frame);
    const finished = typeof choice.finish_reason === "string";
    const said = finished ? this.#last(text ?? "", choice.stop_reason) : this.#next(text ?? "");
    const stopReason = finished && typeof choice.stop_reason === "string" ? choice.stop_reason : null;
    const whole = this.promptKnown ? this.usage() : null;
    const told = stopReason === null ? "" : endAside(stopReason, said, whole);
    return told + this.#shown(event, frame, choice, text ?? "", said);
  }

  #shown(event: SseEvent, frame: JsonObject, choice: JsonObject, text: string, said: string): string {
    const finished = typeof choice.finish_reason === "string";
    if (said === text) return super.pass(event, frame);
    // All of it is held: its usage comes with the next.
    if (said === "" && !finished) return "";
    const changed = { ...frame, choices: [{ ...choice, ...this.format.said(said) }] };
    return super.pass({ ...event, raw: dataFrame(changed) }, changed);
  }

  #next(text: string): string {
    const free = this.#hold.push(text, this.usage().outputTokens);
    if (free === null) return "";
    this.#passedTokens = free.tokens;
    return free.text;
  }

  #last(text: string, stopReason: unknown): string {
    this.#passedTokens = this.usage().outputTokens;
    return this.#hold.end(text, this.#passedTokens, stopReason)?.text ?? "";
  }
}
