import { existsSync, globSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { CheckContext } from "../check.ts";
import { Missing, ran } from "../edge/toolchain.ts";

/** Installed, cloud-init would act at this machine's next boot. So its package is unpacked, and only its schema run. */

const PYTHON = "/usr/bin/python3";
const MODULES =
  "python3-jsonschema python3-yaml python3-jinja2 python3-configobj python3-oauthlib python3-requests";

/** What cloud-init's schema says against a document, one line each. Throws `Missing` where it cannot be had. */
export async function cloudInitSchema(context: CheckContext, text: string): Promise<string[]> {
  const packages = await unpacked(context);
  const file = join(packages, "document.yaml");
  writeFileSync(file, text);
  const { status, output } = await ran(
    PYTHON,
    ["-m", "cloudinit.cmd.main", "schema", "--config-file", file],
    { env: { ...process.env, PYTHONPATH: join(packages, "usr/lib/python3/dist-packages") } },
  );
  if (/ModuleNotFoundError/.test(output)) {
    throw new Missing(`cloud-init's Python modules are missing (Debian: ${MODULES})`);
  }
  return status === 0 ? [] : output.trim().split("\n");
}

async function unpacked(context: CheckContext): Promise<string> {
  const folder = join(context.cache, "cloud-init");
  if (existsSync(join(folder, "usr"))) return folder;
  mkdirSync(folder, { recursive: true });
  context.say("fetching Debian's package of cloud-init, to unpack it");
  const { status } = await ran("apt-get", ["download", "cloud-init"], { cwd: folder });
  const file = globSync("*.deb", { cwd: folder })[0];
  if (status !== 0 || file === undefined)
    throw new Missing("cloud-init cannot be fetched by apt-get download");
  const { status: out } = await ran("dpkg", ["-x", file, "."], { cwd: folder });
  rmSync(join(folder, file));
  if (out !== 0) throw new Missing("dpkg cannot unpack cloud-init");
  return folder;
}
