import { z } from "zod";
import { RERANK_DOCUMENTS_MAX } from "../../bounds.ts";
import { usageOfWhole } from "../choices.ts";
import type { JsonObject } from "../endpoint.ts";
import { modelName, openaiStripped, text } from "../fields.ts";
import { poolingEndpoint } from "../pooling.ts";
import { invalid, list, type RequestFields } from "../schema.ts";
import { addPairs, scoringFields, scoringForbidden } from "../scoring.ts";

/** POST /v1/score: one against many, or pair by pair. Fields and reasons: docs/endpoints.md. */

const texts = z.union([text, list(text, RERANK_DOCUMENTS_MAX, 1)]).nullish();

const OTHER_NAMES = "use 'text_1' and 'text_2', or 'queries' and 'documents'.";

function sides(body: JsonObject): [string[], string[]] {
  return [asList(body.text_1 ?? body.queries), asList(body.text_2 ?? body.documents)];
}

function asList(value: unknown): string[] {
  return Array.isArray(value) ? (value as string[]) : [value as string];
}

function present(value: unknown): boolean {
  return value !== undefined && value !== null;
}

export const scoreFields: RequestFields = {
  passes: {
    ...scoringFields,
    model: modelName,
    text_1: texts,
    text_2: texts,
    queries: texts,
    documents: texts,
  },
  stripped: openaiStripped,
  forbidden: { ...scoringForbidden, data_1: OTHER_NAMES, data_2: OTHER_NAMES, items: OTHER_NAMES },
};

export const score = poolingEndpoint({
  id: "score",
  path: "/v1/score",
  enginePath: "/v1/score",
  salted: true,
  fields: scoreFields,
  inconsistent(body) {
    const older = present(body.text_1) || present(body.text_2);
    const newer = present(body.queries) || present(body.documents);
    if (older && newer) return invalid("queries", OTHER_NAMES);
    const [first, second] =
      older || !newer ? (["text_1", "text_2"] as const) : (["queries", "documents"] as const);
    for (const side of [first, second]) {
      if (!present(body[side])) {
        return { tag: "invalid_field", param: side, detail: `Missing required parameter: '${side}'.` };
      }
    }
    const [left, right] = sides(body);
    if (left.length === 1 || left.length === right.length) return null;
    return invalid(
      second,
      `${left.length} against ${right.length}: one against many, or as many as there are.`,
    );
  },
  measure(body, meter) {
    const [left, right] = sides(body);
    addPairs(meter, left, right, body.instruction);
  },
  wholeUsage: usageOfWhole,
});
