/** POST /tokenize and /detokenize. */

import { renderChat } from "../model/template.ts";
import { decode, encode, tokenText } from "../model/tokenizer.ts";
import type { ReplicaOptions } from "../options.ts";
import { readMessages, readOpening } from "./conversation.ts";
import { type Body, missing, optional } from "./validate.ts";

export function tokenize(body: Body, options: ReplicaOptions): object {
  const strings = optional.boolean(body, "return_token_strs") ?? false;
  const prompt = optional.string(body, "prompt");
  if (prompt === undefined && body.messages === undefined) throw missing(body, "prompt", "messages");
  const ids =
    prompt === undefined ? renderChat(readMessages(body, options), readOpening(body)) : encode(prompt);
  return {
    count: ids.length,
    max_model_len: options.maxModelLen,
    tokens: ids,
    token_strs: strings ? ids.map(tokenText) : null,
  };
}

export function detokenize(body: Body): object {
  if (body.tokens === undefined) throw missing(body, "tokens");
  return { prompt: decode((optional.list(body, "tokens") ?? []) as number[], true) };
}
