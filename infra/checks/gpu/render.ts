import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CheckContext } from "../check.ts";
import { ran } from "../edge/toolchain.ts";
import { GATE_SAMPLE, REPLICA_SAMPLE } from "./samples.ts";
import { baseEnv, lastLines } from "./terraform.ts";

export type Role = "replica" | "gate";
export const ROLES: readonly Role[] = ["replica", "gate"];

export interface CloudFile {
  readonly path: string;
  readonly content: string;
  readonly permissions: string;
}

export interface UserData {
  readonly role: Role;
  /** The document as a machine gets it. */
  readonly text: string;
  readonly files: readonly CloudFile[];
  /** Bytes that EC2 is given: compressed. */
  readonly size: number;
}

const SAMPLES: Readonly<Record<Role, unknown>> = { replica: REPLICA_SAMPLE, gate: GATE_SAMPLE };

/** What a machine of that role is told at boot, rendered by Terraform without any provider. */
export async function render(context: CheckContext, role: Role): Promise<UserData> {
  const scratch = mkdtempSync(join(tmpdir(), "meridian-render-"));
  try {
    const vars = join(scratch, "sample.json");
    const state = join(scratch, "state");
    writeFileSync(vars, JSON.stringify(SAMPLES[role]));
    const folder = join(context.root, "infra/gpu-origin/user-data", role);
    const env = { ...baseEnv(), TF_DATA_DIR: join(scratch, "data") };
    const run = async (...args: readonly string[]) => {
      const { status, output } = await ran("terraform", [`-chdir=${folder}`, ...args], { env });
      if (status !== 0) throw new Error(`user-data/${role}: ${lastLines(output)}`);
      return output;
    };
    await run("init", "-backend=false", "-input=false", "-no-color", `-plugin-dir=${scratch}`);
    await run("apply", "-auto-approve", "-input=false", "-no-color", `-state=${state}`, `-var-file=${vars}`);
    const text = await run("output", "-raw", `-state=${state}`, "user_data");
    const encoded = await run("output", "-raw", `-state=${state}`, "user_data_base64");
    return { role, text, files: filesOf(text), size: Buffer.from(encoded, "base64").length };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** The files in a cloud-init document whose body is JSON. */
export function filesOf(text: string): readonly CloudFile[] {
  const [header, body] = [text.slice(0, text.indexOf("\n")), text.slice(text.indexOf("\n"))];
  if (header !== "#cloud-config") throw new Error("user data does not begin with #cloud-config");
  return (JSON.parse(body) as { write_files: CloudFile[] }).write_files;
}

/** The content of one file of the document. Throws where there is none. */
export function fileNamed(data: UserData, path: string): string {
  const file = data.files.find((one) => one.path === path);
  if (file === undefined) throw new Error(`user-data/${data.role} holds no ${path}`);
  return file.content;
}
