import { PREFIX_BLOCK_CHARS, PREFIX_BLOCKS_MAX } from "../bounds.ts";
import { hashEnd, hashMore, hashStart } from "./hash.ts";

/** A prompt's leading blocks by name. */
export interface PromptBlocks {
  /** One name per full block of `PREFIX_BLOCK_CHARS`, in order, at most `PREFIX_BLOCKS_MAX`; below 2^53. */
  readonly blocks: number[];
  /** UTF-16 units of all parts, part ends included; what follows the last block named is in here too. */
  readonly chars: number;
}

/** Between two parts, so that moving a word from one message to the next is another prompt. Never valid text. */
const PART_END = "\uffff";

/**
 * Names the blocks of a prompt: each name depends on all text before it and on the salt, so two prompts share as many
 * leading names as they share whole blocks of leading text, and none with another salt (tenant, model, adapter).
 *
 * An approximation: engines cache blocks of 16 tokens of their own tokenizer and template. Here a block is 512 UTF-16
 * units, about 128 tokens of English, so a hit is under-counted by half a block on average; and parts that the
 * template puts in another order than they come here are seen as different though the engine may share them.
 */
export function blocksOf(parts: Iterable<string>, salt: string): PromptBlocks {
  const state = hashStart(salt);
  const blocks: number[] = [];
  let chars = 0;
  for (const part of parts) {
    for (const text of [part, PART_END]) {
      let at = 0;
      while (at < text.length && blocks.length < PREFIX_BLOCKS_MAX) {
        const inBlock = (chars + at) % PREFIX_BLOCK_CHARS;
        const to = Math.min(text.length, at + PREFIX_BLOCK_CHARS - inBlock);
        hashMore(state, text, at, to);
        if (inBlock + to - at === PREFIX_BLOCK_CHARS) blocks.push(hashEnd(state));
        at = to;
      }
      chars += text.length;
    }
  }
  return { blocks, chars };
}
