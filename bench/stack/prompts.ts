import { castOf } from "../../sim/fleet/cast.ts";
import { mix32 } from "../../sim/fleet/hash.ts";
import { pooledHitTokens } from "../../sim/fleet/kv-cache.ts";
import { TRACE_BLOCK_TOKENS, type TraceLine } from "../../sim/fleet/trace.ts";
import { encode } from "../../sim/origin/model/tokenizer.ts";
import { ADJECTIVES, LINKS, NOUNS, VERBS } from "../../sim/origin/model/vocabulary.ts";

/** A trace has lengths and names of blocks; a local stack needs texts. Equal blocks get equal texts, and only those. */

/** What is played: tokens are a quarter of the trace's, so that engines and edge fit on one machine. */
export const SCALE = 4;
const BLOCK_TOKENS = TRACE_BLOCK_TOKENS / SCALE;
/** Longer prompts are left out: one would take up a replica for a second. */
const PROMPT_MAX_TOKENS = 48_000;
/** Answers are shorter still: what is measured is the first token. */
const OUTPUT_SCALE = 16;
/** A conversation's turns begin where the same block begins, so a longer one goes on as a shorter one began. */
const TURN_BLOCKS = 4;
const WORDS = [...ADJECTIVES, ...NOUNS, ...VERBS, ...LINKS];

export interface Prompt {
  readonly session: number;
  readonly messages: readonly { readonly role: "system" | "user" | "assistant"; readonly content: string }[];
}

/** The trace's conversations that have a second turn. A conversation is known by its second block. */
export function conversations(lines: readonly TraceLine[]): TraceLine[] {
  const played = lines.filter(
    ({ promptTokens, blocks }) => promptTokens <= PROMPT_MAX_TOKENS && blocks.length > 1,
  );
  const turns = Map.groupBy(played, ({ blocks }) => blocks[1]!);
  return played.filter(({ blocks }) => turns.get(blocks[1]!)!.length > 1);
}

/** Share of the prompts' tokens that one cache of so many tokens would have had, all replicas' in one. */
export function pooledShare(lines: readonly TraceLine[], cacheTokens: number): number {
  const { calls, sizes } = castOf(lines, { seed: 1, speed: 1, tenants: 1, interactiveShare: null });
  const promptTokens = lines.reduce((sum, line) => sum + line.promptTokens, 0);
  return pooledHitTokens(calls, sizes, cacheTokens * SCALE) / promptTokens;
}

/** `world` is said first, so that nothing is shared with what was played in another one. */
export function promptOf(line: TraceLine, world: string): Prompt {
  const [first, ...rest] = line.blocks.map((block) => textOf(block));
  const messages: Prompt["messages"][number][] = [{ role: "system", content: `${world} ${first}` }];
  for (let at = 0; at < rest.length; at += TURN_BLOCKS) {
    const role = messages.length % 2 === 1 ? "user" : "assistant";
    messages.push({ role, content: rest.slice(at, at + TURN_BLOCKS).join("") });
  }
  const outputTokens = Math.max(1, Math.round(line.outputTokens / OUTPUT_SCALE));
  messages.push({ role: "user", content: `Go on. [len=${outputTokens}]` });
  return { session: line.blocks[1]!, messages };
}

const texts = new Map<number, string>();

/** Some `BLOCK_TOKENS` tokens of everyday words. */
function textOf(block: number): string {
  let text = texts.get(block);
  if (text === undefined) {
    const words = Array.from({ length: BLOCK_TOKENS }, (_, at) => {
      return ` ${WORDS[mix32(block * BLOCK_TOKENS + at) % WORDS.length]!}`;
    });
    text = words.join("");
    if (encode(text).length > 1.1 * BLOCK_TOKENS) throw new Error("words are not tokens any more");
    texts.set(block, text);
  }
  return text;
}
