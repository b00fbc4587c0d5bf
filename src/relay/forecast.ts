import { OUTPUT_TOKENS_EXPECTED, PREFIX_BLOCK_CHARS } from "../bounds.ts";
import { sha256, toBase64Url } from "../contract/encoding.ts";
import type { Call } from "../engine/endpoint.ts";

/** What it will generate, all choices together. A client's limit says how long an answer may be, not how long it is. */
export function expectedOutputTokens({ generates, maxOutputTokens, choices }: Call): number {
  if (!generates) return 0;
  return choices * Math.min(maxOutputTokens ?? Infinity, OUTPUT_TOKENS_EXPECTED);
}

/** The estimate's tokens, spread evenly over the text; at least one, at most one a character. */
export function tokensPerBlock(promptTokens: number, chars: number): number {
  if (chars === 0) return 1;
  const even = Math.round((promptTokens * PREFIX_BLOCK_CHARS) / chars);
  return Math.min(PREFIX_BLOCK_CHARS, Math.max(1, even));
}

/** A conversation by a name that says nothing of it and that no other tenant can make. */
export async function sessionName(cacheSalt: string, model: string, conversation: string): Promise<string> {
  const name = await sha256(`session\n${cacheSalt}\n${model}\n${conversation}`);
  return toBase64Url(name.subarray(0, 16));
}
