/**
 * How far the estimate of a prompt is from what a tokenizer counts, by kind of text, before and after learning.
 * `npm run bench:estimates [-- --samples 400] [--json FILE] [--label NAME]`; the label is the served model's name.
 *
 * The texts are real (bench/support/corpus.ts), so are the vocabularies: o200k and cl100k, and, where MERIDIAN_VLLM_URL
 * names a vLLM, that of its model, chat template and tools included. Half of the prompts are learned from, in a mixed
 * order and as a pool would; the other half is estimated. Writes docs/images/estimates.svg.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { encode as encodeCl100k } from "gpt-tokenizer/encoding/cl100k_base";
import { encode as encodeO200k } from "gpt-tokenizer/encoding/o200k_base";
import type { PromptBasis } from "../src/contract/prompt-basis.ts";
import type { JsonObject } from "../src/engine/endpoint.ts";
import { chat } from "../src/engine/endpoints/chat.ts";
import { COLD, estimatePromptTokens, promptBasis } from "../src/limits/estimate.ts";
import { learned } from "../src/limits/learn.ts";
import type { Learned } from "../src/limits/messages.ts";
import { corpus, KINDS, type Kind, type Sample } from "./support/corpus.ts";
import { type Panel, rangePlot } from "./support/plot.ts";

const { values: flags } = parseArgs({
  options: {
    samples: { type: "string", default: "400" },
    json: { type: "string" },
    label: { type: "string" },
  },
});
const VLLM_URL = process.env.MERIDIAN_VLLM_URL;
/** The real server is asked over HTTP for each prompt. */
const SERVED_SAMPLES_MAX = 150;
const ROUNDS = 2;

/** A prompt that was measured by the edge and counted by a tokenizer. */
interface Counted {
  readonly kind: Kind;
  readonly basis: PromptBasis;
  readonly promptTokens: number;
}

interface Vocabulary {
  readonly name: string;
  readonly samples: readonly Sample[];
  count(sample: Sample, fixedTokens: number): number | Promise<number>;
}

/** Estimate over truth, for one kind of text. */
interface Distribution {
  readonly kind: Kind;
  readonly low: number;
  readonly middle: number;
  readonly high: number;
  /** Share of prompts that need more than was estimated. */
  readonly short: number;
  /** The most that one of them lacked, as a share of what it needed. */
  readonly worst: number;
}

/** Even numbers in [0, 1), the same in every run (mulberry32). */
function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Counts text and tools as the edge sees them; the template's frame, which these tokenizers have not, is taken as known. */
function local(name: string, encode: (text: string) => number[]): Vocabulary {
  const perKind = Number(flags.samples);
  return {
    name,
    samples: corpus({ model: "m", perKind, mostChars: 8_000, random: uniform(1) }),
    count: ({ body: { messages, tools } }, fixedTokens) => {
      const texts = [...messages.map(({ content }) => content), ...(tools ? [JSON.stringify(tools)] : [])];
      return fixedTokens + texts.reduce((sum, text) => sum + encode(text).length, 0);
    },
  };
}

/** A real server's own count of the whole prompt. */
async function served(url: string): Promise<Vocabulary> {
  const { data } = (await (await fetch(`${url}/v1/models`)).json()) as {
    data: { id: string; root: string }[];
  };
  const { id: model, root } = data[0]!;
  const perKind = Math.min(Number(flags.samples), SERVED_SAMPLES_MAX);
  const count = async (body: object) => {
    const answer = await fetch(`${url}/tokenize`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`/tokenize answered ${answer.status}: ${await answer.text()}`);
    return ((await answer.json()) as { count: number }).count;
  };
  const samples = corpus({ model, perKind, mostChars: 4_000, random: uniform(2) });
  const { body } = samples.find(({ kind }) => kind === "tools")!;
  const readsTools = (await count(body)) > (await count({ ...body, tools: undefined }));
  if (!readsTools) console.log("The served model's chat template leaves tools out: not compared.");
  return {
    name: `vLLM serving ${flags.label ?? root}, chat template included`,
    samples: samples.filter(({ kind }) => readsTools || kind !== "tools"),
    count: (sample) => count(sample.body),
  };
}

async function countedBy({ samples, count }: Vocabulary): Promise<Counted[]> {
  const counted: Counted[] = [];
  for (const sample of samples) {
    const parsed = chat.parse(sample.body as unknown as JsonObject);
    if (!parsed.ok) throw new Error(`the edge refuses a sample: ${JSON.stringify(parsed.failure)}`);
    const promptTokens = await count(sample, parsed.call.fixedTokens);
    counted.push({ kind: sample.kind, basis: promptBasis(parsed.call), promptTokens });
  }
  return counted;
}

function taught(prompts: readonly Counted[]): Learned {
  const random = uniform(3);
  let known = COLD;
  for (let round = 0; round < ROUNDS; round++) {
    const order = prompts.map((prompt) => ({ prompt, place: random() })).sort((a, b) => a.place - b.place);
    for (const { prompt } of order) known = learned(known, { ...prompt, requestId: "" });
  }
  return known;
}

function distributions(prompts: readonly Counted[], known: Learned): Distribution[] {
  const kinds = KINDS.filter((kind) => prompts.some((prompt) => prompt.kind === kind));
  return kinds.map((kind) => {
    const ratios = prompts
      .filter((prompt) => prompt.kind === kind)
      .map(({ basis, promptTokens }) => estimatePromptTokens(basis, known) / promptTokens)
      .sort((one, other) => one - other);
    const at = (share: number) => ratios[Math.min(ratios.length - 1, Math.floor(share * ratios.length))]!;
    const short = ratios.filter((ratio) => ratio < 1).length / ratios.length;
    return {
      kind,
      low: at(0.05),
      middle: at(0.5),
      high: at(0.95),
      short,
      worst: Math.max(0, 1 - ratios[0]!),
    };
  });
}

function printed(name: string, cold: readonly Distribution[], after: readonly Distribution[]): void {
  const percent = (ratio: number) => `${ratio < 1 ? "−" : "+"}${Math.abs((ratio - 1) * 100).toFixed(0)} %`;
  const cells = ({ low, middle, high, short, worst }: Distribution) =>
    [
      percent(low),
      percent(middle),
      percent(high),
      `${(100 * short).toFixed(1)} %`,
      `−${(100 * worst).toFixed(0)} %`,
    ]
      .map((cell) => cell.padStart(9))
      .join("");
  const heads = ["p5", "median", "p95", "too low", "lowest"].map((head) => head.padStart(9)).join("");
  console.log(
    `\n${name}\n${"".padEnd(10)}${"cold start".padStart(27)}${"".padEnd(18)} |${"learned".padStart(25)}`,
  );
  console.log(`${"".padEnd(10)}${heads} |${heads}`);
  for (const [index, one] of cold.entries()) {
    console.log(`${one.kind.padEnd(10)}${cells(one)} |${cells(after[index]!)}`);
  }
}

const vocabularies = [local("o200k_base", encodeO200k), local("cl100k_base", encodeCl100k)];
if (VLLM_URL) vocabularies.push(await served(VLLM_URL));
else console.log("MERIDIAN_VLLM_URL is not set: no real server is asked.");

const panels: Panel[] = [];
const results: object[] = [];
for (const vocabulary of vocabularies) {
  const counted = await countedBy(vocabulary);
  // Kinds take turns, so both halves have as many of each.
  const half = Math.floor(counted.length / 2);
  const known = taught(counted.slice(0, half));
  const rest = counted.slice(half);
  const [cold, after] = [distributions(rest, COLD), distributions(rest, known)];
  const short = rest.filter(({ basis, promptTokens }) => estimatePromptTokens(basis, known) < promptTokens);
  const share = ((100 * short.length) / rest.length).toFixed(1);
  printed(
    `${vocabulary.name}: ${rest.length} prompts, ${share} % of all too low after learning`,
    cold,
    after,
  );
  const rows = cold.map((one, index) => ({ label: one.kind, ranges: [one, after[index]!] }));
  panels.push({ title: vocabulary.name, rows });
  results.push({ vocabulary: vocabulary.name, known, cold, learned: after });
}

const svg = rangePlot({
  title: "Estimated prompt tokens against what tokenizers count",
  subtitle:
    "Bars from the 5th to the 95th percentile of prompts, black at the median. Left of 1× is overrun.",
  xLabel: "estimate ÷ count (logarithmic)",
  ticks: [0.4, 0.5, 0.75, 1, 1.5, 2, 2.5],
  mark: 1,
  series: [
    { name: "cold start: constants", color: "#a8b1bb" },
    { name: "learned from settled usage", color: "#1f7a8c" },
  ],
  panels,
});
writeFileSync(new URL("../docs/images/estimates.svg", import.meta.url), svg);
if (flags.json) writeFileSync(flags.json, `${JSON.stringify(results, null, 2)}\n`);
