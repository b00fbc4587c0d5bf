import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import { type FakeEdge, startFakeEdge } from "../../support/gate-edge.ts";
import { type FakeEngine, startFakeEngine } from "../../support/gate-engine.ts";
import { SECRET } from "../../support/gate-rig.ts";

const MAIN = fileURLToPath(new URL("../../../src/gate/main.ts", import.meta.url));
let engine: FakeEngine;
let edge: FakeEdge;
let child: ChildProcess;

async function configFor(changes: object = {}): Promise<string> {
  engine = await startFakeEngine();
  edge = await startFakeEdge(SECRET);
  return JSON.stringify({
    pool: "us-east",
    gate: "us-east-a",
    listen: { port: 0 },
    edgeUrl: edge.url,
    replicas: { static: [{ id: "r0", url: engine.url }] },
    concurrencyPerReplica: 4,
    drainMs: 500,
    quiet: true,
    ...changes,
  });
}

const environment = (config: string) => ({
  ...process.env,
  MERIDIAN_GATE_CONFIG: config,
  MERIDIAN_GATE_SECRETS: JSON.stringify({ "1": SECRET }),
});

function outputOf(stream: NodeJS.ReadableStream): () => string {
  let text = "";
  stream.setEncoding("utf8").on("data", (chunk) => {
    text += chunk;
  });
  return () => text;
}

async function ready(process: ChildProcess): Promise<string> {
  const text = outputOf(process.stdout!);
  while (!text().includes("\n")) await once(process.stdout!, "data");
  return text();
}

afterEach(async () => {
  child?.kill("SIGKILL");
  await Promise.all([engine?.close(), edge?.close()]);
});

describe("the program", () => {
  test("says where it listens, and leaves in order on SIGTERM", async () => {
    child = spawn(process.execPath, [MAIN], { env: environment(await configFor()), stdio: "pipe" });
    const line = await ready(child);
    expect(line).toMatch(/^gate us-east ready at http:\/\/127\.0\.0\.1:\d+\n$/);
    const url = line.trim().split(" ").at(-1)!;
    expect((await fetch(`${url}/health`)).status).toBe(200);
    child.kill("SIGTERM");
    expect(await once(child, "exit")).toEqual([0, null]);
    expect(edge.reports.some(({ draining }) => draining)).toBe(true);
  }, 20_000);

  test("ends with the program that started it", async () => {
    child = fork(MAIN, [], { env: environment(await configFor()), stdio: "pipe" });
    await ready(child);
    child.disconnect();
    expect(await once(child, "exit")).toEqual([0, null]);
  }, 20_000);

  test("exits with 2 and a line for each mistake of its configuration", async () => {
    const config = await configFor({ gate: "", colour: "red" });
    child = spawn(process.execPath, [MAIN], { env: environment(config), stdio: "pipe" });
    const errors = outputOf(child.stderr!);
    expect(await once(child, "close")).toEqual([2, null]);
    const lines = errors().trimEnd().split("\n");
    expect(lines).toHaveLength(2);
    for (const line of lines) expect(line).toMatch(/^gate: /);
  }, 20_000);

  test("exits with 1 where its address is taken", async () => {
    const config = await configFor();
    const port = Number(new URL(engine.url).port);
    const taken = JSON.stringify({ ...JSON.parse(config), listen: { port } });
    child = spawn(process.execPath, [MAIN], { env: environment(taken), stdio: "pipe" });
    const errors = outputOf(child.stderr!);
    expect(await once(child, "close")).toEqual([1, null]);
    expect(errors()).toBe(`gate: cannot listen on 127.0.0.1:${port}: EADDRINUSE\n`);
  }, 20_000);
});
