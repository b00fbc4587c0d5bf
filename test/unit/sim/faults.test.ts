import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type FaultSet, parseFaults } from "../../../sim/origin/faults.ts";
import { type Replica, startReplica } from "../../../sim/origin/replica.ts";
import { chatBody, entryOf, eventually, post, stream, streamUntilCut } from "./support/client.ts";

let replica: Replica;
beforeEach(async () => {
  replica = await startReplica({ speed: 200 });
});
afterEach(() => replica.close());

const CHAT = "/v1/chat/completions";
const withId = (id: string) => ({ "x-request-id": id });

async function faults(set: FaultSet): Promise<void> {
  const response = await post(replica, "/_sim/faults", set);
  expect(response.status).toBe(200);
  expect(await response.json()).toEqual(set);
}

/** Leaves after `ms` and says what had come by then. */
async function watch(body: object, ms: number, id = "watched"): Promise<{ status: number; text: string }> {
  const abort = new AbortController();
  const response = await fetch(replica.url + CHAT, {
    method: "POST",
    headers: { "content-type": "application/json", ...withId(id) },
    body: JSON.stringify(body),
    signal: abort.signal,
  });
  const timer = setTimeout(() => abort.abort(), ms);
  let text = "";
  try {
    for await (const part of response.body!) text += new TextDecoder().decode(part);
  } catch {
    // Aborted, as intended.
  }
  clearTimeout(timer);
  return { status: response.status, text };
}

describe("control", () => {
  test("a body that cannot be understood gets a list of the faults", async () => {
    for (const body of [
      "nonsense",
      "[]",
      '{"explode":{}}',
      '{"cut":{}}',
      '{"slow":{"factor":"much"}}',
      '{"drain":1}',
    ]) {
      const response = await post(replica, "/_sim/faults", body);
      expect(response.status).toBe(400);
      expect(Object.keys(((await response.json()) as { faults: object }).faults)).toContain("engineError");
    }
    expect(() => parseFaults('{"cut":{"afterTokens":-1}}')).toThrow("afterTokens");
  });

  test("an empty object clears", async () => {
    await faults({ status: { code: 500 } });
    expect((await post(replica, CHAT, chatBody("x"))).status).toBe(500);
    await faults({});
    expect((await post(replica, CHAT, chatBody("x"))).status).toBe(200);
  });

  test("count and match choose the requests", async () => {
    await faults({ status: { code: 503, retryAfterS: 7, count: 2, match: "unlucky" } });
    expect((await post(replica, CHAT, chatBody("lucky [len=1]"))).status).toBe(200);
    const first = await post(replica, CHAT, chatBody("unlucky"));
    expect([first.status, first.headers.get("retry-after")]).toEqual([503, "7"]);
    expect((await post(replica, CHAT, chatBody("unlucky"))).status).toBe(503);
    expect((await post(replica, CHAT, chatBody("unlucky [len=1]"))).status).toBe(200);
  });
});

describe("faults of one answer", () => {
  test("slowHeaders: late, but whole", async () => {
    await faults({ slowHeaders: { ms: 60 } });
    const began = performance.now();
    const response = await post(replica, CHAT, chatBody("x [len=3]"));
    expect(performance.now() - began).toBeGreaterThan(55);
    expect(await response.text()).toContain("[DONE]");
  });

  test("stall before the first token: headers 200, then silence; the slot stays taken until the client leaves", async () => {
    await faults({ stall: { afterTokens: 0 } });
    expect(await watch(chatBody("x"), 50)).toEqual({ status: 200, text: "" });
    await eventually(() => entryOf(replica, "watched").state === "aborted");
    expect(entryOf(replica, "watched")).toMatchObject({
      outputTokens: 0,
      aborted: true,
      promptTokens: 9,
    });
  });

  test("stall after five tokens", async () => {
    await faults({ stall: { afterTokens: 5 } });
    const { text } = await watch(chatBody("x [len=30]"), 50);
    expect(text.match(/"completion_tokens":5/g)).toHaveLength(1);
    expect(text).not.toContain('"completion_tokens":6');
    expect(entryOf(replica, "watched").outputTokens).toBe(5);
  });

  test("cut between events, and inside one", async () => {
    await faults({ cut: { afterTokens: 4 } });
    const clean = await streamUntilCut(replica, chatBody("x [len=30]"));
    expect(clean).toMatchObject({ broken: true, done: false });
    expect(clean.chunks.at(-1)?.usage?.completion_tokens).toBe(4);
    expect(clean.raw.endsWith("\n\n")).toBe(true);
    await faults({ cut: { afterTokens: 4, insideEvent: true } });
    const torn = await streamUntilCut(replica, chatBody("x [len=30]"));
    expect(torn.chunks.at(-1)?.usage?.completion_tokens).toBe(4);
    expect(torn.raw.endsWith("\n\n")).toBe(false);
  });

  test("cut of an answer in one JSON", async () => {
    await faults({ cut: { afterTokens: 4 } });
    await expect(post(replica, CHAT, { messages: [{ role: "user", content: "x" }] })).rejects.toThrow();
    await faults({ cut: { afterTokens: 4, insideEvent: true } });
    const response = await post(replica, CHAT, { messages: [{ role: "user", content: "x" }] });
    await expect(response.text()).rejects.toThrow();
  });

  test("endWithoutDone: a proper end, no [DONE] and no finish_reason", async () => {
    await faults({ endWithoutDone: { afterTokens: 6 } });
    const answer = await streamUntilCut(replica, chatBody("x [len=30]"));
    expect(answer).toMatchObject({ broken: false, done: false });
    expect(
      answer.chunks.every((chunk) => chunk.choices.every((choice) => choice.finish_reason === null)),
    ).toBe(true);
    expect(answer.chunks.at(-1)?.usage?.completion_tokens).toBeGreaterThanOrEqual(6);
  });

  test("noUsage: no usage anywhere", async () => {
    await faults({ noUsage: {} });
    const answer = await stream(replica, chatBody("x [len=5]"));
    expect(answer.raw).not.toContain("usage");
    expect(answer.done).toBe(true);
  });

  test("garbage: one event that is no JSON, the rest as usual", async () => {
    await faults({ garbage: { afterTokens: 3 } });
    const { raw, done } = await stream(replica, chatBody("x [len=10]"));
    const broken = raw.split("\n\n").filter((block) => block.startsWith("data: {") && !block.endsWith("}"));
    expect(broken).toHaveLength(1);
    expect(done).toBe(true);
  });

  test("engineError: vLLM's error frame, then [DONE] and a clean end", async () => {
    await faults({ engineError: { afterTokens: 3 } });
    const { raw, chunks } = await stream(replica, chatBody("x [len=10]"));
    expect(raw.split("\n\n").slice(-3)).toEqual([
      'data: {"error": {"message": "EngineCore encountered an issue. See stack trace (above) for the root cause.", ' +
        '"type": "InternalServerError", "param": null, "code": 500}}',
      "data: [DONE]",
      "",
    ]);
    expect(chunks.at(-1)?.usage?.completion_tokens).toBe(3);
    const json = await post(replica, CHAT, { messages: [{ role: "user", content: "x" }] });
    expect(json.status).toBe(500);
  });

  test("die: everything is gone at once", async () => {
    await faults({ die: { afterTokens: 2 } });
    const answer = await streamUntilCut(replica, chatBody("x [len=30]", { request_id: "last" }));
    expect(answer.broken).toBe(true);
    await expect(fetch(`${replica.url}/health`)).rejects.toThrow();
    const { requests } = replica.ledger.toJSON() as {
      requests: Record<string, { state: string; outputTokens: number }>;
    };
    expect(Object.values(requests)).toMatchObject([{ state: "failed", outputTokens: 2 }]);
  });
});

describe("faults of the replica", () => {
  test("refuse: connections are broken off, but not those that clear it", async () => {
    await faults({ refuse: {} });
    await expect(fetch(`${replica.url}/health`)).rejects.toThrow();
    await expect(post(replica, CHAT, chatBody("x"))).rejects.toThrow();
    await faults({});
    expect((await fetch(`${replica.url}/health`)).status).toBe(200);
  });

  test("refuse for a time: nobody listens, then somebody does", async () => {
    await faults({ refuse: { ms: 40 } });
    await eventually(() =>
      fetch(`${replica.url}/health`).then(
        () => false,
        () => true,
      ),
    );
    await eventually(() =>
      fetch(`${replica.url}/health`).then(
        () => true,
        () => false,
      ),
    );
  });

  test("restart: streams are cut, the cache is empty, the ledger stays", async () => {
    const long = `${"word ".repeat(100)} [len=400]`;
    await stream(replica, chatBody(`${"word ".repeat(100)} [len=1]`));
    const warm = await stream(replica, chatBody(`${"word ".repeat(100)} [len=1]`));
    expect(warm.chunks.at(-1)?.usage?.prompt_tokens_details?.cached_tokens).toBeGreaterThan(90);
    await faults({ slow: { factor: 200 } });
    const cut = streamUntilCut(replica, chatBody(long));
    await eventually(async () => (await metric("vllm:num_requests_running")) === 1);
    await faults({ restart: { ms: 20 } });
    expect((await cut).broken).toBe(true);
    await eventually(() =>
      fetch(`${replica.url}/health`).then(
        () => true,
        () => false,
      ),
    );
    const cold = await stream(replica, chatBody(`${"word ".repeat(100)} [len=1]`));
    expect(cold.chunks.at(-1)?.usage?.prompt_tokens_details?.cached_tokens).toBe(0);
    expect(await metric("vllm:generation_tokens_total")).toBe(2);
    const ledger = (await (await fetch(`${replica.url}/_sim/ledger`)).json()) as {
      totals: { requests: number };
    };
    expect(ledger.totals.requests).toBe(4);
  });

  test("slow: every step takes longer", async () => {
    const time = async () => {
      const began = performance.now();
      await stream(replica, chatBody("x [len=20]"));
      return performance.now() - began;
    };
    await time();
    await faults({ slow: { factor: 100 } });
    // 21 steps of 8.1 ms at speed 200, times 100.
    expect(await time()).toBeGreaterThan(60);
  });

  test("report: the gauges say what they are told to", async () => {
    await faults({ report: { kvCacheUsage: 0.97, waiting: 1200, running: 64, gpuMemoryUsedPct: 96 } });
    expect(await metric("vllm:kv_cache_usage_perc")).toBe(0.97);
    expect(await metric("vllm:num_requests_waiting")).toBe(1200);
    expect(await metric("vllm:num_requests_running")).toBe(64);
    const used = await metric("DCGM_FI_DEV_FB_USED", "/_sim/dcgm");
    const free = await metric("DCGM_FI_DEV_FB_FREE", "/_sim/dcgm");
    expect(used / (used + free)).toBeCloseTo(0.96, 3);
  });

  test("drain: healthy, but every new chat fails in vLLM's words", async () => {
    await faults({ drain: {} });
    expect((await fetch(`${replica.url}/health`)).status).toBe(200);
    const response = await post(replica, CHAT, chatBody("x"), withId("turned-away"));
    expect(response.status).toBe(500);
    expect(await response.json()).toEqual({
      error: {
        message: "cannot schedule new futures after shutdown",
        type: "InternalServerError",
        param: null,
        code: 500,
      },
    });
    expect(entryOf(replica, "turned-away")).toMatchObject({
      state: "rejected",
      promptTokens: 0,
      status: 500,
    });
  });

  test("freeze: health and metrics answer, headers come, tokens do not; then it goes on", async () => {
    await faults({ freeze: {} });
    const answer = stream(replica, chatBody("x [len=4]"));
    expect(await watch(chatBody("x [len=4]"), 40, "impatient")).toEqual({ status: 200, text: "" });
    expect((await fetch(`${replica.url}/health`)).status).toBe(200);
    // The gauges are frozen too: they know nothing of the two.
    expect(await metric("vllm:num_requests_running")).toBe(0);
    expect(await metric("vllm:num_requests_waiting")).toBe(0);
    await faults({});
    expect((await answer).done).toBe(true);
  });

  test("freeze of the next request only", async () => {
    await faults({ freeze: { count: 1 } });
    expect((await watch(chatBody("x [len=4]"), 30)).text).toBe("");
    expect((await stream(replica, chatBody("x [len=4]"))).done).toBe(true);
  });

  test("unhealthy", async () => {
    await faults({ unhealthy: { count: 1 } });
    expect((await fetch(`${replica.url}/health`)).status).toBe(503);
    expect((await fetch(`${replica.url}/health`)).status).toBe(200);
  });
});

async function metric(name: string, path = "/metrics"): Promise<number> {
  const page = await (await fetch(replica.url + path)).text();
  const line = page.split("\n").find((candidate) => candidate.startsWith(`${name}{`));
  return Number(line?.split(" ").at(-1));
}
