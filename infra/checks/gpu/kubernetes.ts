import { globSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Check, type CheckContext, verdict } from "../check.ts";
import { ran } from "../edge/toolchain.ts";
import { type Manifest, manifestFindings } from "./manifests.ts";
import { check } from "./modules.ts";
import { baseEnv, lastLines } from "./terraform.ts";

/** Terraform reads YAML, and is needed anyway: no YAML library of our own. */
export async function readManifests(folder: string): Promise<Manifest[]> {
  const scratch = mkdtempSync(join(tmpdir(), "meridian-yaml-"));
  try {
    const files = globSync("*.yaml", { cwd: folder }).sort();
    if (files.length === 0) throw new Error(`no manifests in ${folder}`);
    const texts = files.map((file) => `file(${JSON.stringify(join(folder, file))})`).join(", ");
    const value = `jsonencode(flatten([for text in [${texts}] : [for part in split("\\n---\\n", text) : jsonencode(yamldecode(part))]]))`;
    writeFileSync(join(scratch, "main.tf"), `output "all" {\n  value = ${value}\n}\n`);
    const env = { ...baseEnv(), TF_DATA_DIR: join(scratch, "data") };
    for (const args of [
      ["apply", "-auto-approve", "-no-color"],
      ["output", "-raw", "all"],
    ]) {
      const { status, output } = await ran("terraform", [`-chdir=${scratch}`, ...args], { env });
      if (status !== 0) throw new Error(`manifests: ${lastLines(output)}`);
      if (args[0] === "output")
        return (JSON.parse(output) as string[]).map((text) => JSON.parse(text) as Manifest);
    }
    return [];
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const kubernetes = check(
  "gpu:kubernetes",
  "that an API server takes the manifests: none was asked, and no schema of Kubernetes was read",
  async (context: CheckContext) => {
    const manifests = await readManifests(join(context.root, "infra/kubernetes"));
    const found = manifestFindings(manifests);
    const url = pathToFileURL(join(context.root, "src/gate/config.ts")).href;
    const { checkConfig } = (await import(url)) as typeof import("../../../src/gate/config.ts");
    for (const { value } of manifests.flatMap(gateConfigs)) {
      try {
        checkConfig(JSON.parse(value), { MERIDIAN_GATE_SECRETS: '{"1":"only-to-satisfy-the-schema"}' });
      } catch (error) {
        found.push(`gate's configuration: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    return verdict(found, `${manifests.length} manifests`);
  },
);

function gateConfigs(manifest: Manifest): { value: string }[] {
  return (manifest.spec?.template?.spec?.containers ?? [])
    .flatMap(({ env }) => env ?? [])
    .flatMap(({ name, value }) =>
      name === "MERIDIAN_GATE_CONFIG" && value !== undefined ? [{ value }] : [],
    );
}

export const KUBERNETES_CHECKS: readonly Check[] = [kubernetes];
