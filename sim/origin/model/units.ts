/**
 * What the simulated model says: a fixed pool of sentences, now and then Chinese, an emoji or a piece of code.
 * Every unit can follow every other one without changing how either is split into tokens; the property test of
 * resumed streams depends on that.
 */
import { mix, spread } from "../engine/hash.ts";
import { encode } from "./tokenizer.ts";
import { ADJECTIVES, ADVERBS, LINKS, NOUNS, OPENERS, VERBS } from "./vocabulary.ts";

/** A sentence (or block) as token ids, without and with what separates it from the text before it. */
export type Unit = { readonly bare: readonly number[]; readonly joined: readonly number[] };

const UNIT_COUNT = 2048;
export const PARAGRAPH = encode("\n\n");

const CHINESE = [
  "路由器把每个请求送到最近的区域。",
  "今天的天气很好，我们一起去海边走走。",
  "数据从这里出发，经过许多城市，最后回到你的手中。",
  "鲸鱼在深蓝的海里唱着古老的歌。",
  "请稍等，服务器正在思考这个问题。",
];
const EMOJI = ["🚀", "🌍", "🐳", "✨", "🦉", "🧭", "👩‍💻", "🎉"];
const CODE = [
  "```ts\nconst region = await pick(request);\nreturn region.send(request);\n```\n\nThat is all it takes.",
  '```python\nfor token in stream:\n    print(token, end="")\n```\n\nThe loop ends when the stream does.',
  "`GET /health` answers 200 when the engine is alive.",
];

function words(hash: number): (from: readonly string[]) => string {
  let state = hash;
  return (from) => {
    state = mix(state, from.length);
    return from[spread(state) % from.length]!;
  };
}

function sentence(hash: number): string {
  const pick = words(hash);
  const core = `${pick(ADJECTIVES)} ${pick(NOUNS)} ${pick(VERBS)} the ${pick(NOUNS)}`;
  const tail = ` ${pick(LINKS)} a ${pick(ADJECTIVES)} ${pick(NOUNS)}`;
  switch (spread(hash) % 4) {
    case 0:
      return `${pick(OPENERS)} ${core}.`;
    case 1:
      return `${pick(OPENERS)} ${core}${tail}.`;
    case 2:
      return `${pick(ADVERBS)} the ${core}, and the ${pick(NOUNS)} ${pick(VERBS)}${tail}.`;
    default:
      return `${pick(OPENERS)} ${pick(NOUNS)} ${pick(VERBS)}${tail}, but the ${pick(NOUNS)} ${pick(VERBS)}.`;
  }
}

function buildUnit(index: number): Unit {
  const hash = mix(0x51ed270b, index);
  const pick = words(hash);
  switch (spread(hash ^ 0x2545f491) % 24) {
    case 0:
    case 1: {
      const text = pick(CHINESE);
      return { bare: encode(text), joined: encode(text) };
    }
    case 2:
    case 3: {
      const text = `${sentence(hash)} ${pick(EMOJI)}`;
      return { bare: encode(text), joined: encode(` ${text}`) };
    }
    case 4: {
      const text = pick(CODE);
      return { bare: encode(text), joined: [...PARAGRAPH, ...encode(text)] };
    }
    default: {
      const text = sentence(hash);
      return { bare: encode(text), joined: encode(` ${text}`) };
    }
  }
}

export const UNITS: readonly Unit[] = Array.from({ length: UNIT_COUNT }, (_, index) => buildUnit(index));

/** A sentence of exactly `tokens` tokens (at least one), to end an answer at its natural length. */
export function sentenceOfLength(tokens: number, hash: number, first: boolean): number[] {
  const lead = first ? "" : " ";
  const pick = words(hash);
  const text = [pick(ADVERBS), ...Array.from({ length: Math.max(0, tokens - 2) }, () => pick(NOUNS))].join(
    " ",
  );
  const ids = encode(tokens === 1 ? `${lead}Done` : `${lead}${text}.`);
  if (ids.length !== tokens) throw new Error(`a sentence of ${tokens} tokens came out as ${ids.length}`);
  return ids;
}
