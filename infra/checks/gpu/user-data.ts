import { chmodSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Check, type CheckContext, fail, pass, verdict } from "../check.ts";
import { ran } from "../edge/toolchain.ts";
import { cloudInitSchema } from "./cloud-init.ts";
import { check } from "./modules.ts";
import { fileNamed, ROLES, render, type UserData } from "./render.ts";
import { secretsInState, secretsInUserData } from "./secrets.ts";

/** Checks of what machines are told at boot. */

const EC2_USER_DATA_MAX_BYTES = 16 * 1024;
const TOP_LEVEL_KEYS = ["runcmd", "write_files"];

async function rendered(context: CheckContext): Promise<UserData[]> {
  const all: UserData[] = [];
  for (const role of ROLES) all.push(await render(context, role));
  return all;
}

const document = check("gpu:user-data", "that a machine boots with it", async (context) => {
  const all = await rendered(context);
  const found = all.flatMap(({ role, text, size, files }) => [
    ...(size > EC2_USER_DATA_MAX_BYTES ? [`${role}: ${size} bytes, more than EC2 takes`] : []),
    // cloud-init's own schema does not look at these.
    ...Object.keys(JSON.parse(text.slice(text.indexOf("\n"))) as object)
      .filter((key) => !TOP_LEVEL_KEYS.includes(key))
      .map((key) => `${role}: unknown key ${key}`),
    ...files.flatMap((file) =>
      file.path.endsWith(".sh") && file.permissions !== "0755" ? [`${file.path}: cannot be run`] : [],
    ),
    ...unsetSettings(files.map(({ content }) => content).join("\n"), settingsOf(files)).map(
      (name) => `${role}: a script reads ${name}, which settings.env lacks`,
    ),
  ]);
  return verdict(found, all.map(({ role, size }) => `${role} ${size} bytes`).join(", "));
});

function settingsOf(files: UserData["files"]): string[] {
  const text = files.find(({ path }) => path.endsWith("/settings.env"))?.content ?? "";
  return [...text.matchAll(/^(\w+)=/gm)].map((match) => match[1] ?? "");
}

/** Set by systemd, the shell or awk. */
const AMBIENT = [
  "NF",
  "BEGIN",
  "END",
  "SECONDS",
  "EXIT_STATUS",
  "SERVICE_RESULT",
  "AWS_DEFAULT_REGION",
  "AWS_PAGER",
  "AWS_MAX_ATTEMPTS",
];

/** Upper-case variables that scripts use and nobody sets. */
export function unsetSettings(scripts: string, settings: readonly string[]): string[] {
  const used = [...scripts.matchAll(/\$\{?([A-Z][A-Z_]+)\b/g)].map((match) => match[1] ?? "");
  // In arithmetic a name needs no dollar.
  for (const line of scripts.split("\n").filter((text) => text.includes("(("))) {
    used.push(...(line.match(/\b[A-Z][A-Z_]{2,}\b/g) ?? []));
  }
  return [...new Set(used)].filter((name) => !settings.includes(name) && !AMBIENT.includes(name));
}

const secrets = check(
  "gpu:secrets",
  "secrets under harmless names in harmless places; what AWS logs of a parameter's reading",
  async (context) => {
    const files = globSync("infra/{gpu-origin,examples}/**/*.tf", { cwd: context.root });
    const state = files.flatMap((file) =>
      secretsInState(file, readFileSync(join(context.root, file), "utf8")),
    );
    const shown = (await rendered(context)).flatMap(({ role, text, files: inside }) =>
      secretsInUserData(text, inside).map((line) => `${role}: ${line}`),
    );
    return verdict([...state, ...shown], `${files.length} Terraform files, both user data documents`);
  },
);

const gateConfig = check("gpu:gate-config", "that the edge knows the pool", async (context) => {
  const gate = await render(context, "gate");
  const config = JSON.parse(fileNamed(gate, "/opt/meridian/gate.json")) as unknown;
  const url = pathToFileURL(join(context.root, "src/gate/config.ts")).href;
  const { checkConfig } = (await import(url)) as typeof import("../../../src/gate/config.ts");
  try {
    checkConfig(config, { MERIDIAN_GATE_SECRETS: '{"1":"only-to-satisfy-the-schema"}' });
    return pass("gate.json is what src/gate/config.ts takes");
  } catch (error) {
    return fail(`gate.json: ${error instanceof Error ? error.message : String(error)}`);
  }
});

const shell = check("gpu:shellcheck", "what the scripts do: gpu:sandbox runs them", async (context) => {
  const scripts = globSync("infra/{gpu-origin,examples}/**/*.sh", { cwd: context.root }).sort();
  const { status, output } = await ran("shellcheck", ["-x", "-f", "gcc", ...scripts], { cwd: context.root });
  return status === 0 && scripts.length > 0
    ? pass(`${scripts.length} scripts`)
    : fail(...output.trim().split("\n"));
});

const schema = check(
  "gpu:cloud-init",
  "the newer cloud-init of the machine images; that commands succeed",
  async (context) => {
    const found: string[] = [];
    for (const data of await rendered(context)) {
      found.push(...(await cloudInitSchema(context, data.text)).map((line) => `${data.role}: ${line}`));
    }
    return verdict(found, "cloud-init schema accepts both documents");
  },
);

/** Ubuntu 24.04 has systemd 255; older ones do not know these two. */
const SINCE_254 = /Unknown key(?: name)? '(RestartSteps|RestartMaxDelaySec)'/;

const units = check(
  "gpu:systemd",
  "that the programs in ExecStart exist on the machine images",
  async (context) => {
    const found: string[] = [];
    let looked = 0;
    let unknown = 0;
    for (const data of await rendered(context)) {
      const lines = await verifyUnits(data);
      looked += data.files.filter(({ path }) => path.startsWith("/etc/systemd/")).length;
      unknown += lines.filter((line) => SINCE_254.test(line)).length;
      found.push(...lines.filter((line) => !SINCE_254.test(line)).map((line) => `${data.role}: ${line}`));
    }
    const note =
      unknown === 0 ? "" : "; this systemd is too old to judge RestartSteps and RestartMaxDelaySec";
    return verdict(found, `${looked} units${note}`);
  },
);

/** systemd-analyze exits with 0 on unknown keys and bad values: any output is a finding. */
async function verifyUnits(data: UserData): Promise<string[]> {
  const root = mkdtempSync(join(tmpdir(), "meridian-units-"));
  try {
    const put = (path: string, content: string, mode: number) => {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), content);
      chmodSync(join(root, path), mode);
    };
    for (const { path, content, permissions } of data.files)
      put(path, content, Number.parseInt(permissions, 8));
    for (const path of PROGRAMS) put(path, "#!/bin/sh\n", 0o755);
    for (const name of OTHER_UNITS) {
      put(`/usr/lib/systemd/system/${name}`, stubUnit(name), 0o644);
    }
    const names = data.files
      .filter(({ path }) => path.startsWith("/etc/systemd/system/"))
      .map(({ path }) => path.replace("@.service", "@x.service"));
    const { output } = await ran("systemd-analyze", ["verify", `--root=${root}`, "--man=no", ...names]);
    return output
      .replaceAll(root, "")
      .split("\n")
      .filter((line) => line.trim() !== "");
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

const PROGRAMS = ["/usr/bin/docker", "/opt/meridian/node/bin/node", "/opt/meridian/cloudflared"];
const OTHER_UNITS = [
  ...["docker.service", "sysinit.target", "basic.target", "network-online.target", "multi-user.target"],
  ...["timers.target", "shutdown.target", "time-set.target", "time-sync.target"],
];

function stubUnit(name: string): string {
  const service = name.endsWith(".service") ? "\n[Service]\nExecStart=/usr/bin/docker\n" : "";
  return `[Unit]\nDescription=${name}\nDefaultDependencies=no\n${service}`;
}

export const USER_DATA_CHECKS: readonly Check[] = [document, secrets, gateConfig, shell, schema, units];
