import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Replica, startReplica } from "../../../sim/origin/replica.ts";
import { chatBody, post, stream } from "./support/client.ts";

let replica: Replica;
beforeAll(async () => {
  replica = await startReplica({ speed: 500, maxModelLen: 2048 });
});
afterAll(() => replica.close());

const page = async () => (await fetch(`${replica.url}/metrics`)).text();
const golden = (name: string) =>
  readFileSync(new URL(`../../fixtures/vllm/${name}`, import.meta.url), "utf8");

/** Name, label names and bucket of every sample of vLLM's own. */
function series(text: string): string[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith("vllm:") && !line.startsWith("vllm:cache_config_info"))
    .map((line) => line.replace(/ \S+$/, "").replace(/(engine|model_name)="[^"]*"/g, "$1"))
    .sort();
}

function sampleOf(text: string, name: string, labels = ""): number {
  const line = text
    .split("\n")
    .find((candidate) => candidate.startsWith(`${name}{`) && candidate.includes(labels));
  return Number(line?.split(" ").at(-1));
}

describe("metrics", () => {
  test("have every series of the real one, and no other", async () => {
    // The real one counts calls of its tool parser once there have been any; nobody routes by that.
    const real = series(golden("metrics-idle.txt")).filter((line) => !line.includes("tool_call_parser"));
    expect(real.length).toBeGreaterThan(200);
    expect(series(await page())).toEqual(real);
  });

  test("have its types", async () => {
    const types = (text: string) =>
      text
        .split("\n")
        .filter((line) => line.startsWith("# TYPE vllm:") && !line.includes("tool_call_parser"))
        .sort();
    expect(types(await page())).toEqual(types(golden("metrics-idle.txt")));
  });

  test("name their labels as the real one does", async () => {
    const info = /^vllm:cache_config_info\{(.*)\}/m;
    const keys = (text: string) => [...info.exec(text)![1]!.matchAll(/(\w+)="/g)].map((match) => match[1]);
    const real = keys(golden("metrics-idle.txt"));
    for (const key of keys(await page())) expect(real).toContain(key);
  });

  test("count what happened", async () => {
    const prompt = "word ".repeat(60);
    for (let i = 0; i < 2; i++) await stream(replica, chatBody(`${prompt} [len=9]`));
    await stream(replica, chatBody("cut short [len=50]", { max_tokens: 4 }));
    const text = await page();
    expect(sampleOf(text, "vllm:generation_tokens_total")).toBe(24);
    expect(sampleOf(text, "vllm:request_success_total", 'finished_reason="stop"')).toBe(2);
    expect(sampleOf(text, "vllm:request_success_total", 'finished_reason="length"')).toBe(1);
    expect(sampleOf(text, "vllm:prefix_cache_hits_total")).toBe(64);
    expect(sampleOf(text, "vllm:prompt_tokens_cached_total")).toBe(64);
    expect(sampleOf(text, "vllm:prompt_tokens_total")).toBe(
      sampleOf(text, "vllm:prefix_cache_queries_total"),
    );
    expect(sampleOf(text, "vllm:time_to_first_token_seconds_count")).toBe(3);
    expect(sampleOf(text, "vllm:inter_token_latency_seconds_count")).toBe(21);
    expect(sampleOf(text, "vllm:num_requests_running")).toBe(0);
    expect(sampleOf(text, "vllm:kv_cache_usage_perc")).toBe(0);
  });

  test("do not count a client that leaves, as in vLLM", async () => {
    const abort = new AbortController();
    const response = await fetch(`${replica.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(chatBody("x [len=2000]")),
      signal: abort.signal,
    });
    abort.abort();
    await expect(response.text()).rejects.toThrow();
    expect(sampleOf(await page(), "vllm:request_success_total", 'finished_reason="abort"')).toBe(0);
  });
});

test("load counts only where it is switched on", async () => {
  const load = async (of: Replica) =>
    (await (await fetch(`${of.url}/load`)).json()) as { server_load: number };
  const tracked = await startReplica({ enableServerLoadTracking: true });
  for (const of of [replica, tracked]) of.setFaults({ freeze: {} });
  for (const of of [replica, tracked]) await post(of, "/v1/chat/completions", chatBody("x"));
  expect(await load(replica)).toEqual({ server_load: 0 });
  expect(await load(tracked)).toEqual({ server_load: 1 });
  await tracked.close();
});
