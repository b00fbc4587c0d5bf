/** Embeddings, rerank and score: one prefill per input, no text. */
import { mix, spread } from "../engine/hash.ts";
import { encode } from "../model/tokenizer.ts";
import { END_OF_TEXT } from "../model/vocabulary.ts";
import type { ReplicaOptions } from "../options.ts";
import { badRequest } from "./errors.ts";
import { readInputs } from "./inputs.ts";
import { nowSeconds, randomId } from "./plan.ts";
import { checkLengths } from "./sampling.ts";
import { type Body, missing, optional } from "./validate.ts";

/** Inputs to compute, and the answer made of them. */
export type PoolingPlan = { readonly inputs: readonly (readonly number[])[]; readonly body: () => object };

export const EMBEDDING_DIMENSIONS = 384;

export function planEmbeddings(
  body: Body,
  requestId: string | undefined,
  options: ReplicaOptions,
): PoolingPlan {
  if (body.input === undefined) throw missing(body, "input");
  const inputs = readInputs(body.input, "input", encodeWithLead);
  if (body.dimensions !== undefined && body.dimensions !== null) {
    throw badRequest(
      `Model '${options.embedModel}' does not support Matryoshka embeddings; dimensions must be unset ` +
        `(received dimensions=${body.dimensions}).`,
    );
  }
  const base64 = optional.string(body, "encoding_format") === "base64";
  checkInputs(inputs, options);
  return {
    inputs,
    body: () => ({
      id: `embd-${requestId ?? randomId()}`,
      object: "list",
      created: nowSeconds(),
      model: options.embedModel,
      data: inputs.map((ids, index) => {
        const vector = embed(ids);
        const embedding = base64 ? Buffer.from(vector.buffer).toString("base64") : [...vector];
        return { index, object: "embedding", embedding };
      }),
      usage: poolingUsage(inputs),
    }),
  };
}

export function planRerank(body: Body, requestId: string | undefined, options: ReplicaOptions): PoolingPlan {
  for (const field of ["query", "documents"]) if (body[field] === undefined) throw missing(body, field);
  const query = String(body.query);
  const documents = (Array.isArray(body.documents) ? body.documents : [body.documents]).map(String);
  if (documents.length === 0) throw badRequest("At least one text_pair element must be given");
  const topN = optional.integer(body, "top_n") ?? 0;
  const inputs = documents.map((document) => encodeWithLead(query + document));
  checkInputs(inputs, options);
  return {
    inputs,
    body: () => {
      const results = documents
        .map((text, index) => ({
          index,
          document: { text, multi_modal: null },
          relevance_score: similarity(query, text),
        }))
        .sort((a, b) => b.relevance_score - a.relevance_score);
      const { prompt_tokens, total_tokens } = poolingUsage(inputs);
      return {
        id: `score-${requestId ?? randomId()}`,
        model: options.embedModel,
        usage: { prompt_tokens, total_tokens },
        results: topN > 0 ? results.slice(0, topN) : results,
      };
    },
  };
}

export function planScore(body: Body, requestId: string | undefined, options: ReplicaOptions): PoolingPlan {
  const first = body.text_1 ?? body.queries ?? body.data_1;
  const second = body.text_2 ?? body.documents ?? body.items ?? body.data_2;
  if (first === undefined) throw missing(body, "queries");
  if (second === undefined) throw missing(body, "documents");
  const rights = (Array.isArray(second) ? second : [second]).map(String);
  if (Array.isArray(first) && first.length === 0) throw badRequest("At least one text element must be given");
  if (rights.length === 0) throw badRequest("At least one text_pair element must be given");
  const lefts = Array.isArray(first) ? first.map(String) : rights.map(() => String(first));
  const inputs = rights.map((right, i) => encodeWithLead((lefts[i] ?? lefts[0]!) + right));
  checkInputs(inputs, options);
  return {
    inputs,
    body: () => ({
      id: `score-${requestId ?? randomId()}`,
      object: "list",
      created: nowSeconds(),
      model: options.embedModel,
      data: rights.map((right, index) => ({
        index,
        object: "score",
        score: similarity(lefts[index] ?? lefts[0]!, right),
      })),
      usage: poolingUsage(inputs),
    }),
  };
}

/** Embedding models put a token of their own before a text, so that even an empty one has a vector. */
function encodeWithLead(text: string): number[] {
  return [END_OF_TEXT, ...encode(text)];
}

function checkInputs(inputs: readonly (readonly number[])[], options: ReplicaOptions): void {
  const noLimit = { name: "max_tokens", tokens: undefined };
  for (const input of inputs) checkLengths(input.length, noLimit, options.maxModelLen);
}

function poolingUsage(inputs: readonly (readonly number[])[]) {
  const tokens = inputs.reduce((sum, input) => sum + input.length, 0);
  return {
    prompt_tokens: tokens,
    total_tokens: tokens,
    completion_tokens: 0,
    prompt_tokens_details: null,
    completion_tokens_details: null,
  };
}

/** A unit vector: the sum of one fixed pseudo-random direction per token, so that texts that share words are near. */
export function embed(ids: readonly number[]): Float32Array {
  const vector = new Float32Array(EMBEDDING_DIMENSIONS);
  for (const id of ids) {
    for (let i = 0; i < vector.length; i++) vector[i]! += spread(mix(id, i)) / 2 ** 31 - 1;
  }
  const norm = Math.hypot(...vector) || 1;
  return vector.map((value) => value / norm);
}

function similarity(left: string, right: string): number {
  const a = embed(encode(left));
  const b = embed(encode(right));
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}
