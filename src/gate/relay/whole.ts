import { ANSWER_MAX_BYTES } from "../../bounds.ts";
import type { Usage } from "../../contract/report.ts";
import type { JsonObject } from "../../engine/endpoint.ts";
import { COMPLETE, failed } from "../endings.ts";
import { NO_USAGE } from "../meter.ts";
import type { Answer, Taken } from "./answer.ts";

const NOTHING: Taken = { text: "", progressed: false, broken: null };

/**
 * Mode `whole`: one JSON from the engine, passed on as it came. It is held until it is there completely, because
 * half a JSON could not be taken back. A budget cannot end it early: there is nothing to end it with.
 */
export function wholeAnswer(
  usageOf: (answer: JsonObject) => Usage | null,
  names: { readonly served: string; readonly asked: string },
): Answer {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  let text: string | null = null;
  let usage: Usage | null = null;
  return {
    contentType: "application/json",
    bridge: " ",
    stoppable: false,
    take(chunk) {
      bytes += chunk.byteLength;
      if (bytes > ANSWER_MAX_BYTES) return { ...NOTHING, broken: failed("an answer that is too large") };
      chunks.push(chunk);
      return NOTHING;
    },
    eof() {
      const read = Buffer.concat(chunks).toString("utf8");
      chunks.length = 0;
      try {
        const answer: unknown = JSON.parse(read);
        if (!isObject(answer)) return failed("an answer that is no JSON object");
        usage = usageOf(answer);
      } catch {
        return failed("an answer that is no JSON");
      }
      text = renamed(read, names.served, names.asked);
      return COMPLETE;
    },
    get complete() {
      return text !== null;
    },
    usage: () => usage ?? NO_USAGE,
    delivered: () => usage ?? NO_USAGE,
    lastWords: () => "",
    get promptKnown() {
      return usage !== null;
    },
    get events() {
      return text === null ? 0 : 1;
    },
    closing: (ending) => (ending.outcome === "complete" ? text : null),
  };
}

/**
 * The client asked for a model, not for what an engine calls it. The text is not made anew: numbers would change
 * their form. A quote inside a JSON string is escaped, so what is found is a key with its value.
 */
function renamed(text: string, served: string, asked: string): string {
  if (served === asked) return text;
  return text.replace(`"model":${JSON.stringify(served)}`, () => `"model":${JSON.stringify(asked)}`);
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
