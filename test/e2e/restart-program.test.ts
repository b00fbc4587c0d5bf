import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { freePorts, portIsFree } from "../../sim/stack/ports.ts";
import type { StackInfo } from "../../sim/stack/stack.ts";
import { firstPort } from "../support/ports.ts";
import { type Program, processesWith, run, started } from "../support/program.ts";
import { eventually } from "../support/stack.ts";

/** `npm start` as a stranger runs it: what it says when it cannot start, and what it leaves behind. */
const folder = mkdtempSync(join(tmpdir(), "meridian-program-"));
const programs: Program[] = [];
afterAll(() => {
  for (const { process: child } of programs) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

const freePort = async (): Promise<number> => (await freePorts(1, firstPort()))[0]!;

function start(stateDir: string, port: number, args: readonly string[] = []): Program {
  const env = { MERIDIAN_STATE_DIR: stateDir, PORT: String(port) };
  const program = run("scripts/start.ts", args, env);
  programs.push(program);
  return program;
}

function stateDir(name: string): string {
  const path = join(folder, name);
  mkdirSync(path);
  return path;
}

function portsOf({ baseUrl, regions }: StackInfo): number[] {
  const urls = regions.flatMap(({ gateUrl, replicas }) => [gateUrl, ...replicas.map(({ url }) => url)]);
  return [baseUrl, ...urls].map((url) => Number(new URL(url).port));
}

async function chatAnswer({ baseUrl, tenant, models }: StackInfo): Promise<string> {
  const response = await fetch(`${baseUrl}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${tenant.key}`, "content-type": "application/json" },
    body: JSON.stringify({
      model: models[0],
      stream: true,
      messages: [{ role: "user", content: "Hello. [len=5]" }],
    }),
  });
  return response.text();
}

/** What is still there of a stack, once it had the time to go. */
async function leftOf(info: StackInfo, dir: string): Promise<string[]> {
  const look = async () => {
    const ports = await Promise.all(
      portsOf(info).map(async (port) => ((await portIsFree(port)) ? [] : [`port ${port}`])),
    );
    return [...ports.flat(), ...processesWith(dir).map((pid) => `process ${pid}`)];
  };
  return eventually(look, (left) => left.length === 0);
}

describe("npm start", () => {
  it("Ctrl-C leaves no process behind", async () => {
    const dir = stateDir("interrupted");
    const program = start(dir, await freePort());
    const info = await started(program, dir);
    expect(await chatAnswer(info)).toContain("data: [DONE]");
    expect(program.output()).toContain(info.tenant.key);
    // As a terminal does it: to the whole group.
    process.kill(-program.pid, "SIGINT");
    expect(await program.exited).toBe(0);
    expect(program.output()).not.toContain("starting it again");
    expect(program.errors()).toBe("");
    expect(await leftOf(info, dir)).toEqual([]);
  });

  it("killed with -9 it takes all its processes along, and starts again on the same port", async () => {
    const dir = stateDir("killed");
    const port = await freePort();
    const program = start(dir, port);
    const info = await started(program, dir);
    program.process.kill("SIGKILL");
    expect(await program.exited).toBe("SIGKILL");
    expect(await leftOf(info, dir)).toEqual([]);
    const again = start(dir, port);
    const { tenant } = await started(again, dir);
    expect(tenant).toEqual(info.tenant);
    again.process.kill("SIGTERM");
    expect(await again.exited).toBe(0);
  });

  it("interrupted while it still starts, it leaves no process behind either", async () => {
    const dir = stateDir("early");
    const program = start(dir, await freePort());
    expect(await eventually(async () => program.output().includes("starting 3 gates"), Boolean)).toBe(true);
    process.kill(-program.pid, "SIGINT");
    await program.exited;
    expect(
      await eventually(
        async () => processesWith(dir),
        (left) => left.length === 0,
      ),
    ).toEqual([]);
  });

  it("--origins serves from engines that run already", async () => {
    const dir = stateDir("origins");
    const ports = await freePorts(2, firstPort() + 100);
    const engines = ports.map((port, index) => {
      const engine = run("sim/origin/main.ts", ["--port", String(port), "--id", `mine-${index}`], {});
      programs.push(engine);
      return engine;
    });
    const up = async () => engines.every((engine) => engine.output().includes("ready at"));
    expect(await eventually(up, Boolean)).toBe(true);
    const urls = ports.map((port) => `http://127.0.0.1:${port}`);
    const file = join(dir, "origins.json");
    writeFileSync(file, JSON.stringify({ models: ["sim-chat"], regions: { "us-east": urls } }));
    const program = start(dir, await freePort(), ["--origins", file]);
    const info = await started(program, dir);
    expect(info.regions.map(({ replicas }) => replicas.map(({ url }) => url))).toEqual([urls]);
    const answers = await Promise.all(Array.from({ length: 6 }, () => chatAnswer(info)));
    for (const answer of answers) expect(answer).toContain("data: [DONE]");
    program.process.kill("SIGINT");
    expect(await program.exited).toBe(0);
    // They are not ours to stop.
    expect(engines.map((engine) => engine.process.exitCode)).toEqual([null, null]);
    for (const url of urls) expect((await fetch(`${url}/health`)).status).toBe(200);
  });
});

describe("npm start that cannot start says why in one line", () => {
  async function refusal(program: Program): Promise<string> {
    expect(await program.exited).toBe(1);
    const lines = program.errors().trimEnd().split("\n");
    expect(lines, program.errors()).toHaveLength(1);
    expect(lines[0]).toMatch(/^meridian: /);
    return lines[0]!;
  }

  it("a port in use", async () => {
    const port = await freePort();
    const holder = createServer().listen(port, "127.0.0.1");
    try {
      const line = await refusal(start(stateDir("port"), port));
      expect(line).toContain(`port ${port} is in use`);
      expect(line).toContain("PORT=");
    } finally {
      holder.close();
    }
  });

  it.each([
    ["no JSON", "{ broken", "its JSON"],
    ["a secret missing", JSON.stringify({ keyMac: "k".repeat(32) }), "poolMaster"],
  ])("broken secrets: %s", async (name, text, named) => {
    const dir = stateDir(`secrets ${name}`);
    writeFileSync(join(dir, "secrets.json"), text);
    const line = await refusal(start(dir, await freePort()));
    expect(line).toContain("secrets.json");
    expect(line).toContain(named);
    expect(line).not.toContain("kkkk");
  });

  it.each([
    ["not there", null, "no such file"],
    ["no JSON", "{", "JSON"],
    ["no models", { regions: { "us-east": ["http://127.0.0.1:1"] } }, "models"],
    ["no regions", { models: ["m"], regions: {} }, "regions"],
    ["a URL that is none", { models: ["m"], regions: { "us-east": ["nowhere"] } }, "us-east"],
    ["an unknown field", { models: ["m"], regions: {}, replicas: 3 }, "replicas"],
  ])("a broken origins file: %s", async (name, content, named) => {
    const dir = stateDir(`origins ${name}`);
    const file = join(dir, "origins.json");
    if (content !== null)
      writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
    const line = await refusal(start(dir, await freePort(), ["--origins", file]));
    expect(line).toContain("origins.json");
    expect(line).toContain(named);
  });

  it.each(["0", "65536", "http"])("PORT=%s", async (port) => {
    const program = run("scripts/start.ts", [], { MERIDIAN_STATE_DIR: stateDir(`PORT ${port}`), PORT: port });
    expect(await refusal(program)).toContain("PORT");
  });
});
