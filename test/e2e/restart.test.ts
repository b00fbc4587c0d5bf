import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Child } from "../../sim/stack/child.ts";
import { freePorts } from "../../sim/stack/ports.ts";
import { chat, entriesOf, faultsPlan, newCase, type Region } from "../support/endings.ts";
import { live, meterFrom, stillHeld } from "../support/held.ts";
import { firstPort } from "../support/ports.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

/** Each process is killed, and then all of them: what must be there afterwards is there. */
const stateDir = mkdtempSync(join(tmpdir(), "meridian-restart-"));
let port: number;
let stack: TestStack;
beforeAll(async () => {
  [port] = (await freePorts(1, firstPort())) as [number];
  stack = await testStack({ plan: faultsPlan(), stateDir, port });
});
afterAll(async () => {
  await stack?.end();
  rmSync(stateDir, { recursive: true, force: true });
});

/** Kills a process and waits until its successor serves. */
async function replaced(child: Child, serves: () => Promise<boolean>): Promise<void> {
  const { restarts } = child;
  child.kill("SIGKILL");
  const back = async () => child.restarts > restarts && (await serves().catch(() => false));
  expect(await eventually(back, Boolean), `${child.spec.name} is back`).toBe(true);
}

const edgeServes = () => fetch(`${stack.info.baseUrl}/ready`).then(({ ok }) => ok);
const ask = (from: Region = "us-east", key?: string) =>
  chat(stack, { prompt: newCase().prompt, stream: true, from, ...(key === undefined ? {} : { key }) });

/** The first answer from `from` that ends well: right after a death a region may be passed over for a moment. */
async function servedBy(from: Region): Promise<string | null> {
  const region = async () => {
    const seen = await ask(from);
    return seen.error === null ? seen.headers.get("x-meridian-region") : null;
  };
  return eventually(region, (name) => name === from);
}

describe("kill -9", () => {
  it("of the edge: tenants, keys, limits and usage are there", async () => {
    const key = await stack.tenant("kept", { tokensPerMinute: 50_000, tokensPerDay: 90_000 });
    const seen = await ask("us-east", key);
    expect(await stillHeld(stack, "kept")).toEqual([]);
    const [before, record] = [await stack.usage("kept"), await stack.admin.call("GET", "tenants/kept")];
    expect(before.totals.outputTokens).toBeGreaterThan(0);
    await replaced(stack.edge, edgeServes);
    const after = await stack.usage("kept");
    expect(after.totals).toEqual(before.totals);
    expect(after.byKey).toEqual(before.byKey);
    const day = ({ limits }: typeof after) => limits.find(({ scope }) => scope === "tenant")!.tokensPerDay;
    const [entry] = await entriesOf(stack, seen.headers.get("x-request-id")!);
    expect(day(after)).toEqual({ limit: 90_000, used: entry!.promptTokens + entry!.outputTokens });
    expect((await stack.admin.call("GET", "tenants/kept")).body).toEqual(record.body);
    expect(await ask("us-east", key)).toMatchObject({ error: null, finishReason: "stop" });
  });

  it("of the edge: a revoked key stays revoked", async () => {
    const key = await stack.tenant("revoked", {});
    expect((await ask("us-east", key)).status).toBe(200);
    const { data } = (await stack.admin.must(200, "GET", "tenants/revoked/keys")) as {
      data: { id: string }[];
    };
    await stack.admin.must(204, "DELETE", `tenants/revoked/keys/${data[0]!.id}`);
    expect((await ask("us-east", key)).status).toBe(401);
    await replaced(stack.edge, edgeServes);
    expect((await ask("us-east", key)).status).toBe(401);
  });

  it.each(["us-east", "eu-west", "ap-southeast"] as const)(
    "of the gate of %s: it serves again",
    async (region) => {
      await replaced(stack.gates.get(region)!, async () => true);
      expect(await servedBy(region)).toBe(region);
    },
  );

  it("of every replica: each serves again", async () => {
    const ids = stack.info.regions.flatMap(({ replicas }) => replicas.map(({ id }) => id));
    await Promise.all(ids.map((id) => replaced(stack.replicas.get(id)!, async () => true)));
    for (const { name } of stack.info.regions) expect(await servedBy(name as Region)).toBe(name);
    const allUsable = async () => {
      const states = (await Promise.all(stack.info.regions.map(({ name }) => live(stack, name)))).flat();
      return states.every(({ state }) => state.replicas.every(({ usable }) => usable));
    };
    expect(await eventually(allUsable, Boolean)).toBe(true);
  });
});

describe("last reports that the edge could not take", () => {
  /** Keeps the edge's port, so that a new one cannot start. */
  async function edgeOut(): Promise<{ back(): Promise<void> }> {
    const blocker = createServer((_, res) => res.writeHead(503).end());
    stack.edge.kill("SIGKILL");
    const listens = () =>
      new Promise<boolean>((resolve) => {
        blocker.once("error", () => resolve(false));
        blocker.listen(stack.edgePort, "127.0.0.1", () => resolve(true));
      });
    expect(await eventually(listens, Boolean)).toBe(true);
    return {
      async back() {
        blocker.closeAllConnections();
        await new Promise((resolve) => blocker.close(resolve));
        expect(await eventually(() => edgeServes().catch(() => false), Boolean)).toBe(true);
      },
    };
  }

  async function waitingReports(): Promise<number> {
    const pages = await Promise.all(
      stack.info.regions.map(async ({ gateUrl }) => (await fetch(`${gateUrl}/metrics`)).text()),
    );
    return pages.reduce(
      (sum, page) => sum + Number(/^meridian_gate_report_backlog (\d+)/m.exec(page)?.[1]),
      0,
    );
  }

  it("wait at the gates and arrive when there is an edge again", async () => {
    const meter = await meterFrom(stack);
    const { entries: before } = await stack.ledgers();
    const known = new Set(before.map(({ id }) => id));
    const running = Array.from({ length: 6 }, (_, index) =>
      chat(stack, {
        prompt: newCase(3_000).prompt,
        stream: true,
        from: (["us-east", "eu-west", "ap-southeast"] as const)[index % 3]!,
      }),
    );
    const mine = async () => (await stack.ledgers()).entries.filter(({ id }) => !known.has(id));
    const spoken = await eventually(
      mine,
      (list) => list.filter(({ outputTokens }) => outputTokens > 2).length === 6,
    );
    expect(spoken).toHaveLength(6);
    const out = await edgeOut();
    for (const seen of await Promise.all(running)) {
      expect(seen.error).not.toBeNull();
      expect(seen.raw).not.toContain("[DONE]");
    }
    expect(await eventually(waitingReports, (count) => count === 6)).toBe(6);
    await out.back();
    expect(await eventually(waitingReports, (count) => count === 0)).toBe(0);
    const entries = await mine();
    expect(entries.map(({ state }) => state)).toEqual(entries.map(() => "aborted"));
    const expected = {
      promptTokens: entries.reduce((sum, { promptTokens }) => sum + promptTokens, 0),
      outputTokens: entries.reduce((sum, { outputTokens }) => sum + outputTokens, 0),
    };
    expect(await meter.becomes(expected)).toEqual(expected);
    expect(await stillHeld(stack)).toEqual([]);
  });
});
