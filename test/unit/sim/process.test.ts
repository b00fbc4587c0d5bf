import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import { parseArguments } from "../../../sim/origin/options.ts";
import { eventually } from "./support/client.ts";

const MAIN = fileURLToPath(new URL("../../../sim/origin/main.ts", import.meta.url));
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

type Started = {
  child: ChildProcess;
  url: string;
  line: string;
  exited: Promise<[number | null, string | null]>;
};

/** Starts a replica as a process of its own, with an IPC channel. */
async function start(...args: string[]): Promise<Started> {
  const child = fork(MAIN, ["--port", "0", "--id", "us-east-0", ...args], {
    stdio: ["ignore", "pipe", "inherit", "ipc"],
  });
  children.push(child);
  const exited = new Promise<[number | null, string | null]>((resolve) =>
    child.once("exit", (code, signal) => resolve([code, signal])),
  );
  const line = await new Promise<string>((resolve) =>
    child.stdout!.once("data", (text: Buffer) => resolve(text.toString())),
  );
  return { child, line, exited, url: /http:\S+/.exec(line)![0] };
}

function chat(url: string, content: string): Promise<Response> {
  const body = { stream: true, messages: [{ role: "user", content }] };
  return fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
}

describe("process", () => {
  test("says one line when it listens, serves, and leaves on SIGTERM", async () => {
    const { child, line, url, exited } = await start();
    expect(line).toMatch(/^sim vLLM us-east-0 ready at http:\/\/127\.0\.0\.1:\d+\n$/);
    expect((await fetch(`${url}/health`)).status).toBe(200);
    child.kill("SIGTERM");
    expect(await exited).toEqual([0, null]);
  });

  test("drains on SIGTERM where it may", async () => {
    const { child, url, exited } = await start("--shutdown-timeout", "20", "--speed", "10");
    const response = await chat(url, "x [len=100]");
    child.kill("SIGTERM");
    expect(await response.text()).toContain("[DONE]");
    expect(await exited).toEqual([0, null]);
  });

  test("leaves when its parent's channel closes", async () => {
    const { child, exited } = await start();
    child.disconnect();
    expect(await exited).toEqual([0, null]);
  });

  test("dies as by SIGKILL", async () => {
    const { url, exited } = await start();
    await fetch(`${url}/_sim/faults`, { method: "POST", body: '{"die":{"afterTokens":3}}' });
    const response = await chat(url, "x [len=50]");
    await expect(response.text()).rejects.toThrow();
    expect(await exited).toEqual([null, "SIGKILL"]);
  });

  test("costs nothing while idle", async () => {
    const { child, url } = await start();
    await (await chat(url, "x [len=3]")).text();
    const ticks = async () => {
      const { readFile } = await import("node:fs/promises");
      const fields = (await readFile(`/proc/${child.pid}/stat`, "utf8")).split(") ")[1]!.split(" ");
      return Number(fields[11]) + Number(fields[12]);
    };
    // Let the garbage collector and the compiler finish what they began.
    await eventually(async () => {
      const before = await ticks();
      await new Promise((resolve) => setTimeout(resolve, 300));
      return (await ticks()) === before;
    });
  });
});

describe("arguments", () => {
  test("are vLLM's where vLLM has them", () => {
    const options = parseArguments([
      "--port=9101",
      "--id",
      "eu-0",
      "--model",
      "m",
      "--max-num-seqs",
      "4",
      "--max-num-queued-reqs",
      "9",
      "--speed",
      "2.5",
      "--no-enable-prompt-tokens-details",
      "--enable-server-load-tracking",
      "--stream-interval",
      "4",
      "--block-size",
      "128",
      "--num-gpu-blocks",
      "1000",
      "--scheduling-policy",
      "priority",
    ]);
    expect(options).toMatchObject({
      port: 9101,
      id: "eu-0",
      model: "m",
      maxNumQueuedReqs: 9,
      speed: 2.5,
      enablePromptTokensDetails: false,
      enableServerLoadTracking: true,
      streamInterval: 4,
      priorityScheduling: true,
      engine: { maxSequences: 4, blockTokens: 128, cacheBlocks: 1000 },
    });
  });

  test("that make no sense are refused", () => {
    for (const argv of [
      ["--nope"],
      ["--port"],
      ["--port", "x"],
      ["--speed", "0"],
      ["stray"],
      ["--num-gpu-blocks", "10"],
    ]) {
      expect(() => parseArguments(argv)).toThrow();
    }
  });
});
