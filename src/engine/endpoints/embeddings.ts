import { z } from "zod";
import { EMBEDDING_INPUTS_MAX } from "../../bounds.ts";
import { usageOfWhole } from "../choices.ts";
import { engineForbidden, integer, modelName, openaiStripped, text, truncation } from "../fields.ts";
import { poolingEndpoint } from "../pooling.ts";
import { list, PROMPT_TOKENS_MAX, type RequestFields, tokenIds } from "../schema.ts";

/** POST /v1/embeddings. Fields and reasons: docs/endpoints.md. */

/** Encoders frame each text (`[CLS] … [SEP]`). */
const FRAME_TOKENS = 2;
const DIMENSIONS_MAX = 65_536;

const input = z.union(
  [
    text.min(1),
    tokenIds(PROMPT_TOKENS_MAX, 1),
    list(text.min(1), EMBEDDING_INPUTS_MAX, 1),
    list(tokenIds(PROMPT_TOKENS_MAX, 1), EMBEDDING_INPUTS_MAX, 1),
  ],
  {
    message: `expected a text, token ids, or a list of at most ${EMBEDDING_INPUTS_MAX} of either; none of them empty`,
  },
);

const ENCODING = "answers are float32, as OpenAI's SDKs expect them.";

export const embeddingsFields: RequestFields = {
  passes: {
    ...truncation,
    model: modelName,
    input,
    dimensions: integer(1, DIMENSIONS_MAX),
    encoding_format: z.enum(["float", "base64"]).nullish(),
  },
  stripped: openaiStripped,
  forbidden: {
    ...engineForbidden,
    messages: "send text or token ids as 'input'.",
    embed_dtype: ENCODING,
    endianness: ENCODING,
    use_activation: "the model's own default is used.",
    normalize: "the model's own default is used.",
    padding: "the model's own default is used.",
    add_special_tokens: "the model's own default is used.",
    task: "the path names the task.",
  },
};

export const embeddings = poolingEndpoint({
  id: "embeddings",
  path: "/v1/embeddings",
  enginePath: "/v1/embeddings",
  salted: true,
  fields: embeddingsFields,
  measure(body, meter) {
    const value = body.input;
    if (!Array.isArray(value)) meter.addPrompt(value as string, FRAME_TOKENS);
    else if (typeof value[0] === "number") meter.addPrompt(value as number[], FRAME_TOKENS);
    else for (const one of value as (string | number[])[]) meter.addPrompt(one, FRAME_TOKENS);
  },
  wholeUsage: usageOfWhole,
});
