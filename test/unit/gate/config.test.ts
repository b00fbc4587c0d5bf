import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ConfigError, checkConfig, loadConfig } from "../../../src/gate/config.ts";

const SECRET = "0123456789abcdef-secret";
const GOOD = {
  pool: "us-east",
  gate: "us-east-a",
  listen: { port: 9001 },
  edgeUrl: "https://edge.example/",
  secrets: { "1": SECRET },
  replicas: { static: [{ id: "r0", url: "http://10.0.0.1:8000/" }] },
  concurrencyPerReplica: 64,
};

function linesOf(check: () => unknown): readonly string[] {
  try {
    check();
  } catch (error) {
    if (error instanceof ConfigError) return error.lines;
    throw error;
  }
  return [];
}

describe("the configuration", () => {
  test("has defaults, and URLs without a slash at the end", () => {
    expect(checkConfig(GOOD)).toEqual({
      ...GOOD,
      listen: { host: "127.0.0.1", port: 9001 },
      edgeUrl: "https://edge.example",
      secrets: new Map([[1, SECRET]]),
      replicas: { static: [{ id: "r0", url: "http://10.0.0.1:8000" }] },
      drainMs: 120_000,
      resumable: true,
      quiet: false,
    });
    const dns = checkConfig({ ...GOOD, replicas: { dns: { name: "vllm.internal", port: 8000 } } });
    expect(dns.replicas).toEqual({ dns: { name: "vllm.internal", port: 8000, everyMs: 5_000 } });
  });

  test("tells each mistake in a line of its own", () => {
    const lines = linesOf(() =>
      checkConfig({ ...GOOD, pool: "US East", gate: "", listen: { port: 99_999 }, colour: "red" }),
    );
    expect(lines).toHaveLength(4);
    for (const name of ["pool", "gate", "listen.port", "colour"]) {
      expect(lines.filter((line) => line.includes(name))).toHaveLength(1);
    }
  });

  test.each([
    ["a replica without TLS only", { replicas: { static: [{ id: "r0", url: "https://x" }] } }],
    ["ids that differ", { replicas: { static: [GOOD.replicas.static[0], GOOD.replicas.static[0]] } }],
    ["a source of replicas", { replicas: {} }],
    ["secrets of some length", { secrets: { "1": "short" } }],
    ["versions that are numbers", { secrets: { one: SECRET } }],
    ["any secret at all", { secrets: {} }],
    ["secrets from somewhere", { secrets: undefined }],
    ["a cap", { concurrencyPerReplica: 0 }],
  ])("wants %s", (_what, change) => {
    expect(linesOf(() => checkConfig({ ...GOOD, ...change }))).toHaveLength(1);
  });

  test("takes secrets from a file or the environment, the environment first", () => {
    const folder = mkdtempSync(join(tmpdir(), "gate-config-"));
    const secretFile = join(folder, "secrets.json");
    writeFileSync(secretFile, JSON.stringify({ "2": "from the file, long enough" }));
    const { secrets: _, ...bare } = GOOD;
    const fromFile = checkConfig({ ...bare, secretFile });
    expect([...fromFile.secrets]).toEqual([[2, "from the file, long enough"]]);
    const env = { MERIDIAN_GATE_SECRETS: JSON.stringify({ "3": "from the environment" }) };
    expect([...checkConfig({ ...bare, secretFile }, env).secrets.keys()]).toEqual([3]);
    const engineKey = { MERIDIAN_ENGINE_API_KEY: "k" };
    expect(checkConfig({ ...GOOD, engineApiKey: "other" }, engineKey).engineApiKey).toBe("k");
  });

  test("never quotes a secret in a mistake", () => {
    const env = { MERIDIAN_GATE_SECRETS: `{"1": "${SECRET}"` };
    const lines = [
      ...linesOf(() => checkConfig(GOOD, env)),
      ...linesOf(() => checkConfig({ ...GOOD, secrets: { x: SECRET, "1": "tiny-secret" } })),
      ...linesOf(() => loadConfig([], { MERIDIAN_GATE_CONFIG: `{"secrets":{"1":"${SECRET}"}` })),
    ];
    expect(lines.length).toBeGreaterThanOrEqual(4);
    for (const line of lines) expect(line).not.toMatch(/secret-?$|tiny|0123/);
  });

  test("comes from a flag, or from a variable that names a file or holds it", () => {
    const file = join(mkdtempSync(join(tmpdir(), "gate-config-")), "gate.json");
    writeFileSync(file, JSON.stringify(GOOD));
    const inline = { MERIDIAN_GATE_CONFIG: JSON.stringify({ ...GOOD, pool: "eu-west" }) };
    expect(loadConfig(["--config", file], inline).pool).toBe("us-east");
    expect(loadConfig([], { MERIDIAN_GATE_CONFIG: file }).pool).toBe("us-east");
    expect(loadConfig([], inline).pool).toBe("eu-west");
    expect(linesOf(() => loadConfig([], {}))).toHaveLength(1);
    expect(linesOf(() => loadConfig(["--config", "/no/such/file"], {}))[0]).toContain("ENOENT");
  });
});
