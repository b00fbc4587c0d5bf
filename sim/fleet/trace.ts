import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

/** What a trace says of one request. Who sent it, from where and how urgently no trace says: `cast.ts` makes that up. */
export interface TraceLine {
  readonly atMs: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Names of the prompt's 512-token blocks, the last one partial; each stands for all before it too. */
  readonly blocks: readonly number[];
}

export const TRACE_BLOCK_TOKENS = 512;

/** Reads Mooncake's JSON lines or Azure's CSV, plain or gzipped; told apart by their first letter. */
export function readTrace(path: string): TraceLine[] {
  const bytes = readFileSync(path);
  const text = (path.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString("utf8");
  const lines = text.split(/\r?\n/).filter((line) => line !== "");
  if (lines.length === 0) throw new Error(`${path} is empty`);
  const read = lines[0]!.startsWith("{") ? mooncake(lines) : azure(lines);
  return read.sort((one, other) => one.atMs - other.atMs);
}

function mooncake(lines: readonly string[]): TraceLine[] {
  return lines.map((line) => {
    const { timestamp, input_length, output_length, hash_ids } = JSON.parse(line) as MooncakeLine;
    const fits = hash_ids.length === Math.ceil(input_length / TRACE_BLOCK_TOKENS);
    if (!fits) throw new Error(`a prompt of ${input_length} tokens has ${hash_ids.length} blocks`);
    const outputTokens = Math.max(1, output_length);
    return { atMs: timestamp, promptTokens: input_length, outputTokens, blocks: hash_ids };
  });
}

interface MooncakeLine {
  readonly timestamp: number;
  readonly input_length: number;
  readonly output_length: number;
  readonly hash_ids: readonly number[];
}

/** Azure tells lengths only, so every prompt is new: no block comes twice. */
function azure([head, ...lines]: readonly string[]): TraceLine[] {
  if (!head!.startsWith("TIMESTAMP")) throw new Error("neither Mooncake's JSON lines nor Azure's CSV");
  let block = 0;
  let firstMs: number | null = null;
  return lines.map((line) => {
    const [when, prompt, output] = line.split(",");
    const atMs = Date.parse(`${when!.replace(" ", "T").slice(0, 23)}Z`);
    firstMs ??= atMs;
    const promptTokens = Math.max(1, Number(prompt));
    const blocks = Array.from({ length: Math.ceil(promptTokens / TRACE_BLOCK_TOKENS) }, () => block++);
    return { atMs: atMs - firstMs, promptTokens, outputTokens: Math.max(1, Number(output)), blocks };
  });
}
