import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { REPORT_SILENCE_MAX_MS } from "../../../src/bounds.ts";
import { eventually } from "../../support/stack.ts";
import { type Asked, Load } from "./load.ts";
import { type Entry, hasManyLoopbacks, Region } from "./region.ts";

/**
 * A region while it changes: replicas come and go, gates leave and die, and the tenant's bill stays what the replicas
 * say. Needs an address for each replica, which loopback has on Linux alone.
 */
const here = hasManyLoopbacks() ? describe : describe.skip;
if (!hasManyLoopbacks()) process.stderr.write("test/e2e/region: skipped, needs Linux (127.0.0.11 and on)\n");

here("a region", () => {
  let region: Region;
  const answered: Asked[] = [];
  beforeAll(async () => {
    region = await Region.start();
  }, 120_000);
  afterAll(() => region?.stop());

  /** Runs `change` under load, and returns what the load saw. */
  async function underLoad(change: () => Promise<void>): Promise<Load> {
    const load = new Load(region, 12);
    try {
      await eventually(
        async () => load.asked.length,
        (count) => count >= 12,
      );
      await change();
      const count = load.asked.length;
      await eventually(
        async () => load.asked.length,
        (now) => now >= count + 24,
      );
    } finally {
      answered.push(...(await load.stop()));
    }
    return load;
  }

  const states = async (gate: string) =>
    (await region.seenBy(gate)).replicas.map(({ state }) => state).sort();
  const bothSee = (expected: readonly string[]) =>
    eventually(
      async () => [await states("a"), await states("b")],
      (seen) => seen.every((one) => one.join() === expected.join()),
    );

  /** A ledger that ended with its process is completed by what the client was shown of that answer. */
  function tokensOf(id: string, entry: Entry): { promptTokens: number; outputTokens: number } {
    if (entry.state !== "running") return entry;
    return answered.find((one) => one.id !== "" && id.includes(one.id))?.usage ?? entry;
  }

  async function books() {
    const usage = await eventually(
      () => region.usage(),
      ({ open }) => open.reservations === 0,
      REPORT_SILENCE_MAX_MS + 30_000,
    );
    expect(usage.open).toEqual({ reservations: 0, running: 0, reservedTokens: 0 });
    const ledger = { promptTokens: 0, outputTokens: 0 };
    const broken = { promptTokens: 0, outputTokens: 0 };
    for (const requests of (await region.ledgers()).values()) {
      for (const [id, entry] of requests) {
        const tokens = tokensOf(id, entry);
        const into = answered.some((one) => one.error === null && one.id !== "" && id.includes(one.id))
          ? [ledger]
          : [ledger, broken];
        for (const sum of into) {
          sum.promptTokens += tokens.promptTokens;
          sum.outputTokens += tokens.outputTokens;
        }
      }
    }
    const { promptTokens, outputTokens } = usage.totals;
    return { billed: { promptTokens, outputTokens }, ledger, broken };
  }

  async function billIsExact(): Promise<void> {
    const { billed, ledger } = await books();
    expect(billed).toEqual(ledger);
    expect(ledger.outputTokens).toBeGreaterThan(0);
  }

  it("finds its replicas through the cloud and answers through the tunnel", async () => {
    await bothSee(["healthy", "healthy"]);
    const load = await underLoad(async () => {});
    expect(load.errors).toEqual([]);
    await billIsExact();
  });

  it("shows the world nothing but /v1/, and takes no order that is not the edge's", async () => {
    for (const path of ["/health", "/metrics", "/", "/v1", "/_sim/ledger", "/x/v1/chat/completions"]) {
      expect([path, (await fetch(`${region.tunnel.url}${path}`)).status]).toEqual([path, 404]);
    }
    const before = await region.ledgers();
    const forged = `${Buffer.from(JSON.stringify({ pool: "fra-1", replica: "r-0" })).toString("base64url")}.${"A".repeat(43)}`;
    for (const token of [null, "x", forged]) {
      const response = await fetch(`${region.tunnel.url}/v1/chat/completions`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(token === null ? {} : { "x-meridian-token": token }),
        },
        body: JSON.stringify({ model: "sim-chat", messages: [{ role: "user", content: "for nothing" }] }),
      });
      expect([401, 403]).toContain(response.status);
      expect(await response.text()).not.toContain("i-1");
    }
    const count = (all: typeof before) => [...all.values()].reduce((sum, { size }) => sum + size, 0);
    expect(count(await region.ledgers())).toBe(count(before));
  });

  it("takes a replica in and lets one go, and no stream notices", async () => {
    const load = await underLoad(async () => {
      await region.addReplica();
      await bothSee(["healthy", "healthy", "healthy"]);
      region.lifecycle("i-1", "Terminating:Wait");
      await bothSee(["draining", "healthy", "healthy"]);
      const busy = async () =>
        (await Promise.all(["a", "b"].map((gate) => region.seenBy(gate)))).flatMap(({ replicas }) =>
          replicas.filter(({ state, inFlight }) => state === "draining" && inFlight > 0),
        );
      expect(await eventually(busy, (list) => list.length === 0)).toEqual([]);
      await region.endReplica("i-1");
      region.lifecycle("i-1", null);
      await bothSee(["healthy", "healthy"]);
    });
    expect(load.errors).toEqual([]);
    await billIsExact();
  });

  it("survives a replica that is told to stop in the middle of its streams", async () => {
    const load = await underLoad(async () => {
      await region.addReplica();
      await bothSee(["healthy", "healthy", "healthy"]);
      // As a Spot notice: nobody told the gates before.
      await region.endReplica("i-2");
      region.lifecycle("i-2", null);
      await bothSee(["healthy", "healthy"]);
    });
    expect(load.errors).toEqual([]);
    await billIsExact();
  });

  it("loses no stream and no token when a gate is told to stop", async () => {
    const load = await underLoad(async () => {
      const { child, url } = region.gates.get("a")!;
      region.tunnel.withdraw(url);
      await child.stop();
      region.gates.delete("a");
    });
    expect(load.errors).toEqual([]);
    await billIsExact();
    await region.addGate("a");
    await bothSee(["healthy", "healthy"]);
  });

  it("goes on with one gate when the other dies; only what ran there breaks", async () => {
    const gone = region.gates.get("b")!;
    const load = await underLoad(async () => {
      await eventually(
        async () => (await region.seenBy("b")).open,
        (open) => open > 0,
      );
      gone.child.kill("SIGKILL");
      region.tunnel.withdraw(gone.url);
    });
    const broken = load.asked.filter(({ error }) => error !== null);
    expect(broken.length).toBeGreaterThan(0);
    expect((await underLoad(async () => {})).errors).toEqual([]);
    const { billed, ledger, broken: lost } = await books();
    // What a dead gate had not reported yet is never billed: at most what the broken streams emitted.
    for (const kind of ["promptTokens", "outputTokens"] as const) {
      expect(billed[kind]).toBeLessThanOrEqual(ledger[kind]);
      expect(billed[kind]).toBeGreaterThanOrEqual(ledger[kind] - lost[kind]);
    }
    const missing = ledger.outputTokens - billed.outputTokens;
    await underLoad(async () => {});
    const after = await books();
    expect(after.ledger.outputTokens - after.billed.outputTokens).toBe(missing);
  }, 180_000);
});
