import { globSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { decode } from "../../sim/origin/model/tokenizer.ts";
import { UNITS } from "../../sim/origin/model/units.ts";

/** Real text of several kinds, cut into prompts. It comes from files that every checkout with its packages has. */

export const KINDS = ["English", "Chinese", "code", "JSON", "tools"] as const;
export type Kind = (typeof KINDS)[number];

/** One chat, as a client would send it. */
export interface Sample {
  readonly kind: Kind;
  readonly body: {
    readonly model: string;
    readonly messages: readonly { readonly role: string; readonly content: string }[];
    readonly tools?: readonly object[];
  };
}

export interface CorpusOptions {
  readonly model: string;
  readonly perKind: number;
  /** Longest text of one prompt, in characters; Chinese gets a quarter of it. */
  readonly mostChars: number;
  readonly random: () => number;
}

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const LEAST_CHARS = 24;
const FILES_MAX = 400;
const FILE_CHARS_MAX = 40_000;

/** Lengths are even on a logarithmic scale: many short prompts, some long ones. */
export function corpus({ model, perKind, mostChars, random }: CorpusOptions): Sample[] {
  const sources: Record<Exclude<Kind, "tools">, string> = {
    English: joined(["*.md", "docs/**/*.md", "LICENSE", "node_modules/{,@*/}*/LICENSE*"]),
    Chinese: `${readFileSync(`${ROOT}bench/texts/chinese.txt`, "utf8")}\n\n${simulatedChinese()}`,
    code: joined(["src/**/*.ts", "node_modules/{,@*/}*/{lib,src}/**/*.{js,ts}"]),
    JSON: joined(["node_modules/*/package.json", "node_modules/*/*/package.json", "docs/openapi.json"]),
  };
  const cut = (text: string, most: number) => {
    const length = Math.round(LEAST_CHARS * (most / LEAST_CHARS) ** random());
    const at = Math.floor(random() * Math.max(1, text.length - length));
    return text.slice(at, at + length);
  };
  const chat = (content: string) => ({ model, messages: [{ role: "user", content }] });
  const functions = toolsFromContract();
  return Array.from({ length: perKind }, () => [
    { kind: "English" as const, body: chat(cut(sources.English, mostChars)) },
    { kind: "Chinese" as const, body: chat(cut(sources.Chinese, mostChars / 4)) },
    { kind: "code" as const, body: chat(cut(sources.code, mostChars)) },
    { kind: "JSON" as const, body: chat(cut(sources.JSON, mostChars)) },
    {
      kind: "tools" as const,
      body: { ...chat("What is left of the budget?"), tools: some(functions, random) },
    },
  ]).flat();
}

/** Files in the order of their names; the start of each, so that one large file is not most of the text. */
function joined(patterns: readonly string[]): string {
  const files = patterns.flatMap((pattern) => globSync(pattern, { cwd: ROOT }).sort().slice(0, FILES_MAX));
  const isText = (name: string) => !/\.(map|min\.js|d\.ts|d\.mts|d\.cts)$/.test(name);
  const texts = files
    .filter(isText)
    .map((name) => readFileSync(ROOT + name, "utf8").slice(0, FILE_CHARS_MAX));
  // Many packages have the same licence, but for its first lines.
  const byEnd = new Map(texts.map((text) => [text.slice(-400), text]));
  return [...byEnd.values()].join("\n");
}

function simulatedChinese(): string {
  const said = new Set(UNITS.map(({ bare }) => decode(bare)).filter((text) => /[\u4e00-\u9fff]/.test(text)));
  return [...said].join("\n");
}

interface Contract {
  readonly components: { readonly schemas: Record<string, object> };
}

/** Functions whose parameters are the schemas of the admin API. */
function toolsFromContract(): object[] {
  const { components } = JSON.parse(readFileSync(`${ROOT}docs/openapi.json`, "utf8")) as Contract;
  return Object.entries(components.schemas).map(([name, parameters]) => ({
    type: "function",
    function: { name: `create_${name}`, description: `Creates one ${name} and returns it.`, parameters },
  }));
}

function some<Item>(items: readonly Item[], random: () => number): Item[] {
  const count = 1 + Math.floor(random() * 4);
  return Array.from({ length: count }, () => items[Math.floor(random() * items.length)]!);
}
