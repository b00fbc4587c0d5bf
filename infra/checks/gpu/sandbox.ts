import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Check, skip, verdict } from "../check.ts";
import { ran } from "../edge/toolchain.ts";
import { check } from "./modules.ts";
import { ROLES, type Role, render, type UserData } from "./render.ts";
import { GATE_CASES } from "./sandbox-gate.ts";
import { REPLICA_CASES } from "./sandbox-replica.ts";

/**
 * Runs the scripts that machines boot with, as they are in the rendered document, in a namespace of their own:
 * no network, /run and /var/log empty, /opt made up, and stubs for everything outside of the machine.
 */

export interface Case {
  readonly name: string;
  readonly role: Role;
  /** Files of the world that the stubs answer from, under /opt/world; others by absolute path. */
  readonly world: Readonly<Record<string, string>>;
  /** Shell lines, run with `-e` in the sandbox. */
  readonly run: string;
  readonly status: number;
  /** Must be in what was printed, in this order. */
  readonly prints?: readonly RegExp[];
  /** Must be among the calls of the stubs, in this order. */
  readonly calls?: readonly RegExp[];
  /** Must not be among the calls. */
  readonly never?: readonly RegExp[];
}

export interface Seen {
  readonly status: number | null;
  readonly output: string;
  readonly calls: string;
}

const STUBS = fileURLToPath(new URL("./stubs", import.meta.url));
const RECORDED = ["docker", "systemctl", "sleep", "journalctl"];

/** Mounts before the case's own lines run. Disks: an empty tmpfs where NVMe would be. */
const PRELUDE = `set -e
mount --bind "$SANDBOX/opt" /opt
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mkdir -p /var/log/meridian /opt/dlami/nvme
[ -e /opt/world/no-nvme ] || mount -t tmpfs tmpfs /opt/dlami/nvme
export PATH=/opt/stubs:$PATH
bin=/opt/meridian/bin
`;

async function play(one: Case, data: UserData): Promise<Seen> {
  const sandbox = mkdtempSync(join(tmpdir(), "meridian-sandbox-"));
  try {
    const put = (path: string, content: string, mode = 0o644) => {
      mkdirSync(dirname(join(sandbox, path)), { recursive: true });
      writeFileSync(join(sandbox, path), content);
      chmodSync(join(sandbox, path), mode);
    };
    for (const file of data.files.filter(({ path }) => path.startsWith("/opt/"))) {
      put(file.path, file.content, Number.parseInt(file.permissions, 8));
    }
    cpSync(STUBS, join(sandbox, "opt/stubs"), { recursive: true });
    for (const name of RECORDED) symlinkSync("record", join(sandbox, "opt/stubs", name));
    put("/opt/world/imds/instance-id", "i-0123456789abcdef0");
    for (const [path, content] of Object.entries(one.world)) put(join("/opt/world", path), content);
    const args = ["--mount", "--net", "--pid", "--fork", "bash", "-c", `${PRELUDE}${one.run}`];
    const { status, output } = await ran("unshare", args, {
      env: { PATH: process.env.PATH, SANDBOX: sandbox },
      deadlineMs: 30_000,
    });
    const calls = join(sandbox, "opt/world/calls");
    return { status, output, calls: existsSync(calls) ? readFileSync(calls, "utf8") : "" };
  } finally {
    rmSync(sandbox, { recursive: true, force: true });
  }
}

/** What differs from what the case expects. */
export function differences(one: Case, seen: Seen): string[] {
  const said = `said ${JSON.stringify(seen.output.slice(-300))}`;
  const called = `called ${JSON.stringify(seen.calls.slice(-900))}`;
  return [
    ...(seen.status === one.status ? [] : [`ended with ${seen.status} instead of ${one.status}; ${said}`]),
    ...missing(one.prints ?? [], seen.output).map((pattern) => `did not print ${pattern}; ${said}`),
    ...missing(one.calls ?? [], seen.calls).map((pattern) => `did not call ${pattern}; ${called}`),
    ...(one.never ?? [])
      .filter((pattern) => pattern.test(seen.calls))
      .map((pattern) => `called ${pattern}; ${called}`),
  ].map((line) => `${one.name}: ${line}`);
}

/** The first pattern that is not in the text after those before it. */
function missing(patterns: readonly RegExp[], text: string): RegExp[] {
  let from = 0;
  for (const pattern of patterns) {
    const found = text.slice(from).search(pattern);
    if (found < 0) return [pattern];
    from += found + 1;
  }
  return [];
}

const sandbox = check(
  "gpu:sandbox",
  "AWS, docker, the driver and vLLM were stubs: that vLLM takes these arguments, that cloudflared takes those, that images run",
  async (context) => {
    if (process.platform !== "linux" || process.getuid?.() !== 0)
      return skip("namespaces need root on Linux");
    const probe = await ran("unshare", ["--mount", "--net", "--pid", "--fork", "true"]);
    if (probe.status !== 0) return skip(`no namespaces here: ${probe.output.trim()}`);
    const documents = new Map<Role, UserData>();
    for (const role of ROLES) documents.set(role, await render(context, role));
    const cases = [...GATE_CASES, ...REPLICA_CASES];
    const found: string[] = [];
    for (const one of cases) {
      const data = documents.get(one.role);
      if (data === undefined) throw new Error(`no document for ${one.role}`);
      found.push(...differences(one, await play(one, data)));
    }
    return verdict(found, `${cases.length} situations: ${cases.map(({ name }) => name).join(", ")}`);
  },
);

export const SANDBOX_CHECKS: readonly Check[] = [sandbox];
