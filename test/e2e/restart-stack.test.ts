import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePorts } from "../../sim/stack/ports.ts";
import type { TenantUsage } from "../../src/limits/messages.ts";
import { chat, faultsPlan, NEAR, newCase, type Region } from "../support/endings.ts";
import { meterFrom, stillHeld } from "../support/held.ts";
import { firstPort } from "../support/ports.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

/** The whole stack stops and starts on the same folder; and what operators change is in force everywhere. */
const stateDir = mkdtempSync(join(tmpdir(), "meridian-again-"));
/** One replica each is enough here, and starts sooner. */
const plan = { ...faultsPlan(), regions: faultsPlan().regions.map((region) => ({ ...region, replicas: 1 })) };
const REGIONS = Object.keys(NEAR) as Region[];
let port: number;
let stack: TestStack;
beforeAll(async () => {
  [port] = (await freePorts(1, firstPort())) as [number];
  stack = await testStack({ plan, stateDir, port });
});
afterAll(async () => {
  await stack?.end();
  rmSync(stateDir, { recursive: true, force: true });
});

const ask = (key: string, from: Region = "us-east") =>
  chat(stack, { prompt: newCase().prompt, stream: true, from, key });

const ofTenant = ({ limits }: TenantUsage) => limits.find(({ scope }) => scope === "tenant")!;

/** How long a change may take to be in force everywhere. */
const IN_FORCE_MS = 10_000;

// At the same time, because each only waits.
describe.concurrent("an operator's change is in force at every location within 10 s", () => {
  /** Asks near every region until all answers are as they should be, or the time is over. */
  async function everywhere(look: (from: Region) => Promise<unknown>, wanted: unknown): Promise<unknown[]> {
    return eventually(
      () => Promise.all(REGIONS.map(look)),
      (answers) => answers.every((answer) => answer === wanted),
      IN_FORCE_MS,
    );
  }
  const three = <T>(value: T) => REGIONS.map(() => value);

  it("a revoked key", async () => {
    const key = await stack.tenant("to-revoke", {});
    const status = async (from: Region) => (await ask(key, from)).status;
    expect(await everywhere(status, 200)).toEqual(three(200));
    const { data } = (await stack.admin.must(200, "GET", "tenants/to-revoke/keys")) as {
      data: { id: string }[];
    };
    await stack.admin.must(204, "DELETE", `tenants/to-revoke/keys/${data[0]!.id}`);
    expect(await everywhere(status, 401)).toEqual(three(401));
  });

  it("a suspended tenant, and one that is back", async () => {
    const key = await stack.tenant("to-suspend", {});
    const status = async (from: Region) => (await ask(key, from)).status;
    expect(await everywhere(status, 200)).toEqual(three(200));
    await stack.admin.ensure("tenants", { id: "to-suspend", suspended: true });
    expect(await everywhere(status, 403)).toEqual(three(403));
    await stack.admin.ensure("tenants", { id: "to-suspend", suspended: false });
    expect(await everywhere(status, 200)).toEqual(three(200));
  });

  it("a drained pool, and one that is back", async () => {
    const key = await stack.tenant("of-drained", {});
    const inEurope = async (from: Region) => {
      const seen = await ask(key, from);
      expect(seen.error).toBeNull();
      return seen.headers.get("x-meridian-region") === "eu-west";
    };
    expect(await eventually(() => inEurope("eu-west"), Boolean)).toBe(true);
    await stack.admin.ensure("pools", { id: "eu-west", drained: true });
    expect(await everywhere(inEurope, false)).toEqual(three(false));
    await stack.admin.ensure("pools", { id: "eu-west", drained: false });
    expect(await eventually(() => inEurope("eu-west"), Boolean, IN_FORCE_MS)).toBe(true);
  });

  it("a model's new name", async () => {
    const key = await stack.tenant("of-model", {});
    const status = async (from: Region) =>
      (await chat(stack, { prompt: newCase().prompt, stream: false, from, key, model: "sim-alias" })).status;
    expect(await everywhere(status, 404)).toEqual(three(404));
    await stack.admin.ensure("models", { id: "sim-alias", kind: "generate", servedName: "sim-chat" });
    for (const id of REGIONS) {
      const { models } = (await stack.admin.must(200, "GET", `pools/${id}`)) as { models: object[] };
      await stack.admin.ensure("pools", { id, models: [...models, { model: "sim-alias" }] });
    }
    expect(await everywhere(status, 200)).toEqual(three(200));
  });

  it("a new secret of a pool: gates that still have the one before go on serving, and reporting", async () => {
    const key = await stack.tenant("of-rotation", {});
    await stack.admin.must(200, "POST", "pools/us-east/rotate-secret");
    // Long enough for every part of the edge to know of the new one.
    const untilMs = Date.now() + 6_000;
    const meter = await meterFrom(stack, "of-rotation");
    let [promptTokens, outputTokens] = [0, 0];
    while (Date.now() < untilMs) {
      const seen = await chat(stack, { prompt: newCase().prompt, stream: false, key });
      expect(seen).toMatchObject({ error: null, status: 200 });
      expect(seen.headers.get("x-meridian-region")).toBe("us-east");
      expect(seen.headers.get("x-meridian-attempts")).toBe("1");
      promptTokens += seen.usage!.prompt_tokens;
      outputTokens += seen.usage!.completion_tokens;
    }
    const expected = { promptTokens, outputTokens };
    expect(await meter.becomes(expected)).toEqual(expected);
  });
});

describe("a gate that does not know its pool's secret any more", () => {
  it("is passed over: its refusal is never taken for the client's fault", async () => {
    const key = await stack.tenant("of-ended-rotation", {});
    await stack.admin.must(200, "POST", "pools/us-east/end-rotation");
    const region = async () => {
      const seen = await ask(key);
      expect(seen).toMatchObject({ error: null, status: 200 });
      return seen.headers.get("x-meridian-region");
    };
    expect(await eventually(region, (name) => name !== "us-east", IN_FORCE_MS)).toBe("eu-west");
    expect(await stillHeld(stack, "of-ended-rotation")).toEqual([]);
    // The next start of the stack gives it the new one; see below.
  });
});

describe("the whole stack", () => {
  const keys = new Map<string, string>();

  it("stops and starts: tenants, keys, usage and day windows are there", async () => {
    keys.set("stays", await stack.tenant("stays", { tokensPerMinute: 60_000, tokensPerDay: 80_000 }));
    keys.set("goes", await stack.tenant("goes", {}));
    const { data } = (await stack.admin.must(200, "GET", "tenants/goes/keys")) as { data: { id: string }[] };
    await stack.admin.must(204, "DELETE", `tenants/goes/keys/${data[0]!.id}`);
    const running = chat(stack, { prompt: newCase(3_000).prompt, stream: true, key: keys.get("stays")! });
    const used = async () => (await stack.usage("stays")).totals.outputTokens;
    expect(await eventually(used, (tokens) => tokens > 0)).toBeGreaterThan(0);
    const tenants = (await stack.admin.call("GET", "tenants")).body;
    await stack.end();
    const seen = await running;
    expect(seen.error).not.toBeNull();
    expect(seen.raw).not.toContain("[DONE]");

    stack = await testStack({ plan, stateDir, port });
    const after = await stack.usage("stays");
    // The gate left in order, and told the edge before.
    expect(after.open).toEqual({ reservations: 0, running: 0, reservedTokens: 0 });
    expect(after.totals.outputTokens).toBeGreaterThanOrEqual(seen.chunks);
    const spent = after.totals.promptTokens + after.totals.outputTokens;
    expect(ofTenant(after).tokensPerDay).toEqual({ limit: 80_000, used: spent });
    expect((await stack.admin.call("GET", "tenants")).body).toEqual(tenants);
    const first = await ask(keys.get("stays")!);
    expect(first.error).toBeNull();
    expect(first.headers.get("x-meridian-region")).toBe("us-east");
    expect((await ask(keys.get("goes")!)).status).toBe(401);
  });

  it("is killed in the middle: what was reported is charged, what was held comes back at its deadline", async () => {
    const key = keys.get("stays")!;
    expect(await stillHeld(stack, "stays")).toEqual([]);
    const before = (await stack.usage("stays")).totals;
    const running = chat(stack, { prompt: newCase(4_000).prompt, stream: true, key });
    const reported = async () => await stack.usage("stays");
    const last = await eventually(reported, ({ totals }) => totals.outputTokens > before.outputTokens);
    expect(last.open).toMatchObject({ reservations: 1, running: 1 });
    const { edge, gates, replicas } = stack;
    await Promise.all([...gates.values(), ...replicas.values(), edge].map((child) => child.stop("SIGKILL")));
    expect((await running).error).not.toBeNull();
    await stack.front.close();
    letDeadlinesPass();

    stack = await testStack({ plan, stateDir, port });
    const after = await stack.usage("stays");
    expect(after.open).toEqual({ reservations: 0, running: 0, reservedTokens: 0 });
    expect(after.totals.outputTokens).toBeGreaterThanOrEqual(last.totals.outputTokens);
    expect(after.totals.requests).toBe(before.requests + 1);
    const spent = after.totals.promptTokens + after.totals.outputTokens;
    expect(ofTenant(after).tokensPerDay).toEqual({ limit: 80_000, used: spent });
    expect((await ask(key)).error).toBeNull();
    expect(await stillHeld(stack, "stays")).toEqual([]);
  });

  /** Nobody waits a minute for a gate's silence to be noticed: the rows say that it is over. */
  function letDeadlinesPass(): void {
    const folder = join(stateDir, "objects/meridian-TenantBudget");
    let moved = 0;
    for (const file of readdirSync(folder).filter((name) => name.endsWith(".sqlite"))) {
      const rows = new DatabaseSync(join(folder, file));
      const table = rows.prepare("SELECT 1 FROM sqlite_master WHERE name = 'reservations'").get();
      if (table)
        moved += Number(
          rows.prepare("UPDATE reservations SET deadline_ms = 1 WHERE state = 'open'").run().changes,
        );
      rows.close();
    }
    expect(moved).toBe(1);
  }
});
