import { ChoiceReader, usageJson } from "./choices.ts";
import type { Aggregator, JsonObject } from "./endpoint.ts";
import { isJsonObject } from "./schema.ts";

/**
 * One JSON from a stream of one choice, equal to the engine's own field by field. Only for requests whose whole
 * answer is text and counts: what else vLLM puts into it (token ids, logprobs, tool calls) is null or absent there.
 */
export abstract class ChoiceAggregator extends ChoiceReader implements Aggregator {
  protected finishReason: string | null = null;
  protected stopReason: unknown = null;

  whole(): JsonObject {
    if (!this.complete && !this.stopped) throw new Error("the stream is not complete");
    return {
      ...this.head(),
      choices: [this.wholeChoice(this.finishReason ?? "length", this.stopReason)],
      service_tier: null,
      system_fingerprint: this.last?.system_fingerprint ?? null,
      usage: this.#wholeUsage(),
      ...this.wholeTail(),
      kv_transfer_params: null,
      ec_transfer_params: null,
      metrics: this.last?.metrics ?? null,
    };
  }

  protected abstract wholeChoice(finishReason: string, stopReason: unknown): JsonObject;
  protected abstract wholeTail(): JsonObject;

  /** Nothing goes to the client before the whole is there. */
  protected override pass(): string {
    return "";
  }

  protected override passComment(): string {
    return "";
  }

  protected override keep(choice: JsonObject): string | null {
    if (typeof choice.finish_reason === "string") this.finishReason = choice.finish_reason;
    if (choice.stop_reason !== undefined) this.stopReason = choice.stop_reason;
    return null;
  }

  override stopNow(): string {
    super.stopNow();
    return "";
  }

  /** The last usage frame leaves out what is null; the whole answer says it. */
  #wholeUsage(): JsonObject {
    const usage = this.finalUsage;
    const details = isJsonObject(usage?.prompt_tokens_details) ? usage.prompt_tokens_details : null;
    return {
      ...usageJson(this.shownUsage()),
      prompt_tokens_details:
        details === null
          ? null
          : { cached_tokens: null, created_cache_tokens: null, multimodal_tokens: null, ...details },
      completion_tokens_details: usage?.completion_tokens_details ?? null,
    };
  }
}
