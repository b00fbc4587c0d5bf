import type { Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Replica, startReplica } from "../../../sim/origin/replica.ts";
import {
  chatBody,
  dechunk,
  entryOf,
  eventually,
  post,
  rawChat,
  readAll,
  readChunks,
} from "./support/client.ts";

/** A client leaves at any moment, and the ledger still says exactly what it was sent. */
let replica: Replica;
beforeAll(async () => {
  // Fast enough that frames are always under way, slow enough that every answer outlives its client.
  replica = await startReplica({ speed: 20 });
});
afterAll(() => replica.close());

const BODY = chatBody("Tell me everything. [len=4000]");
let clients = 0;

/** Small deterministic delays, from at once to some 30 ms. */
function delayMs(client: number): number {
  return (client * 7919) % 31;
}

function after(ms: number, act: () => void): void {
  if (ms === 0) setImmediate(act);
  else setTimeout(act, ms);
}

async function slotsAreFree(): Promise<void> {
  await eventually(async () => {
    const page = await (await fetch(`${replica.url}/metrics`)).text();
    return (
      /^vllm:num_requests_running\{[^}]*\} 0\.0$/m.test(page) &&
      /^vllm:kv_cache_usage_perc\{[^}]*\} 0\.0$/m.test(page)
    );
  });
}

async function leave(how: (socket: Socket) => void): Promise<{ id: string; received: number; raw: string }> {
  const id = `client-${++clients}`;
  const socket = rawChat(replica, id, BODY);
  const everything = readAll(socket);
  after(delayMs(clients), () => how(socket));
  const raw = await everything;
  await eventually(() => replica.ledger.get(id) === undefined || entryOf(replica, id).state === "aborted");
  const usage = readChunks(dechunk(raw)).chunks.map((chunk) => chunk.usage?.completion_tokens ?? 0);
  return { id, raw, received: Math.max(0, ...usage) };
}

describe("clients that leave", () => {
  test("half-closed: what was counted has arrived, to the token", async () => {
    for (let round = 0; round < 8; round++) {
      const group = await Promise.all(Array.from({ length: 25 }, () => leave((socket) => socket.end())));
      for (const { id, received, raw } of group) {
        if (replica.ledger.get(id) === undefined) continue;
        expect(entryOf(replica, id)).toMatchObject({
          state: "aborted",
          aborted: true,
          outputTokens: received,
        });
        expect(raw).not.toContain("[DONE]");
      }
      expect(group.some(({ received }) => received > 0)).toBe(true);
    }
    await slotsAreFree();
  });

  test("half-closed while the answer is backed up: nothing is counted that was written after the FIN", async () => {
    const fast = await startReplica({ speed: 10_000 });
    for (let round = 0; round < 5; round++) {
      const id = `backed-up-${round}`;
      const socket = rawChat(fast, id, chatBody(`round ${round} [len=30000]`));
      socket.pause();
      await eventually(() => {
        const entry = fast.ledger.get(id);
        return entry !== undefined && entry.generatedTokens > entry.outputTokens + 1_000;
      });
      socket.end();
      const everything = readAll(socket);
      socket.resume();
      const { chunks } = readChunks(dechunk(await everything));
      await eventually(() => entryOf(fast, id).state === "aborted");
      expect(chunks.at(-1)?.usage?.completion_tokens).toBe(entryOf(fast, id).outputTokens);
    }
    await fast.close();
  });

  test("reset: never fewer counted than arrived", async () => {
    const group = await Promise.all(
      Array.from({ length: 40 }, () => leave((socket) => socket.resetAndDestroy())),
    );
    for (const { id, received } of group) {
      if (replica.ledger.get(id) === undefined) continue;
      expect(entryOf(replica, id).outputTokens).toBeGreaterThanOrEqual(received);
    }
    await slotsAreFree();
  });

  test("closed", async () => {
    await Promise.all(Array.from({ length: 40 }, () => leave((socket) => socket.destroy())));
    await slotsAreFree();
  });

  test("a client that left before its answer in one JSON is billed nothing, though the engine worked", async () => {
    const abort = new AbortController();
    const answer = fetch(`${replica.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-request-id": "one-json" },
      body: JSON.stringify({ messages: [{ role: "user", content: "x [len=4000]" }] }),
      signal: abort.signal,
    });
    const rejected = expect(answer).rejects.toThrow();
    await eventually(() => (replica.ledger.get("one-json")?.generatedTokens ?? 0) > 10);
    abort.abort();
    await rejected;
    await eventually(() => entryOf(replica, "one-json").state === "aborted");
    expect(entryOf(replica, "one-json").outputTokens).toBe(0);
    expect(entryOf(replica, "one-json").generatedTokens).toBeGreaterThan(0);
    await slotsAreFree();
  });

  test("one that waits in the queue leaves the queue", async () => {
    const narrow = await startReplica({ engine: { ...replica.options.engine, maxSequences: 1 } });
    const first = rawChat(narrow, "first", BODY);
    await eventually(() => narrow.ledger.get("first")?.state === "running");
    const second = rawChat(narrow, "second", BODY);
    await eventually(() => narrow.ledger.get("second")?.state === "waiting");
    second.destroy();
    await eventually(() => entryOf(narrow, "second").state === "aborted");
    expect(entryOf(narrow, "second")).toMatchObject({ outputTokens: 0, generatedTokens: 0 });
    first.destroy();
    await narrow.close();
  });

  test("a reader that is slower than the model gets every token, in fewer frames", async () => {
    const fast = await startReplica({ speed: 10_000 });
    const socket = rawChat(fast, "slow-reader", chatBody("x [len=20000]"));
    socket.pause();
    await eventually(() => fast.ledger.get("slow-reader")?.generatedTokens === 20_001);
    const counted = entryOf(fast, "slow-reader").outputTokens;
    expect(counted).toBeLessThan(20_001);
    const parts: Buffer[] = [];
    const everything = new Promise<string>((resolve) => {
      socket.on("data", (part) => {
        parts.push(part);
        if (part.toString().endsWith("\r\n0\r\n\r\n")) resolve(Buffer.concat(parts).toString());
      });
    });
    socket.resume();
    const { chunks, done } = readChunks(dechunk(await everything));
    expect(done).toBe(true);
    expect(chunks.at(-1)?.usage?.completion_tokens).toBe(20_001);
    expect(chunks.length).toBeLessThan(20_000);
    expect(entryOf(fast, "slow-reader")).toMatchObject({ state: "finished", outputTokens: 20_001 });
    socket.destroy();
    await fast.close();
  });
});

describe("ledger", () => {
  test("two attempts with one id are both kept", async () => {
    const body = { messages: [{ role: "user", content: "x [len=2]" }], cache_salt: "tenant" };
    for (let i = 0; i < 2; i++)
      await (await post(replica, "/v1/chat/completions", body, { "x-request-id": "twice" })).json();
    for (const key of ["twice", "twice#2"]) {
      expect(entryOf(replica, key)).toMatchObject({
        endpoint: "/v1/chat/completions",
        model: "sim-chat",
        outputTokens: 3,
        state: "finished",
        finishReason: "stop",
        tenantSalt: true,
        stream: false,
      });
    }
  });

  test("can be read and emptied over HTTP", async () => {
    const read = async () =>
      (await (await fetch(`${replica.url}/_sim/ledger`)).json()) as {
        replica: string;
        requests: object;
        totals: Record<string, number>;
      };
    expect((await read()).replica).toBe("replica-0");
    expect((await read()).totals.requests).toBeGreaterThan(100);
    await post(replica, "/_sim/ledger/reset", {});
    expect(await read()).toMatchObject({
      requests: {},
      totals: { promptTokens: 0, outputTokens: 0, cachedTokens: 0, requests: 0 },
    });
  });
});
