import { RERANK_DOCUMENTS_MAX } from "../../bounds.ts";
import { usageOfWhole } from "../choices.ts";
import { flag, integer, modelName, openaiStripped, text } from "../fields.ts";
import { poolingEndpoint } from "../pooling.ts";
import { list, type RequestFields } from "../schema.ts";
import { addPairs, scoringFields, scoringForbidden } from "../scoring.ts";

/** POST /v1/rerank, as Jina and Cohere have it. Fields and reasons: docs/endpoints.md. */

export const rerankFields: RequestFields = {
  passes: {
    ...scoringFields,
    model: modelName,
    query: text,
    documents: list(text, RERANK_DOCUMENTS_MAX, 1),
    top_n: integer(0, RERANK_DOCUMENTS_MAX),
  },
  /** Engines always send the documents back. */
  stripped: { ...openaiStripped, return_documents: flag },
  forbidden: scoringForbidden,
};

export const rerank = poolingEndpoint({
  id: "rerank",
  path: "/v1/rerank",
  enginePath: "/v1/rerank",
  salted: true,
  fields: rerankFields,
  measure: (body, meter) =>
    addPairs(meter, [body.query as string], body.documents as string[], body.instruction),
  wholeUsage: usageOfWhole,
});
