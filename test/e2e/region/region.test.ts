import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../../support/stack.ts";
import { Bookkeeper } from "./bookkeeper.ts";
import { hasManyLoopbacks, Region } from "./region.ts";

/**
 * A region while it changes: replicas come and go, gates leave and die, and the tenant's bill stays what the replicas
 * say. Needs an address for each replica, which loopback has on Linux alone. The tests build on one another.
 */
const here = hasManyLoopbacks() ? describe : describe.skip;
if (!hasManyLoopbacks()) process.stderr.write("test/e2e/region: skipped, needs Linux (127.0.0.11 and on)\n");

let region: Region;
let keeper: Bookkeeper;
beforeAll(async () => {
  if (!hasManyLoopbacks()) return;
  region = await Region.start();
  keeper = new Bookkeeper(region);
}, 120_000);
afterAll(() => region?.stop());

/** An order in the right form, signed by nobody. */
const FORGED = `${Buffer.from(JSON.stringify({ pool: "fra-1", replica: "r-0" })).toString("base64url")}.${"A".repeat(43)}`;

here("a region at rest", () => {
  it("finds its replicas through the cloud and answers through the tunnel", async () => {
    await keeper.bothSee(["healthy", "healthy"]);
    expect((await keeper.underLoad()).errors).toEqual([]);
    await keeper.billIsExact();
  });

  it("shows the world nothing but /v1/", async () => {
    for (const path of ["/health", "/metrics", "/", "/v1", "/_sim/ledger", "/x/v1/chat/completions"]) {
      expect([path, (await fetch(`${region.tunnel.url}${path}`)).status]).toEqual([path, 404]);
    }
  });

  it("takes no order that is not the edge's", async () => {
    const received = async () =>
      [...(await region.ledgers()).values()].reduce((sum, { size }) => sum + size, 0);
    const before = await received();
    for (const token of [null, "x", FORGED]) {
      const response = await fetch(`${region.tunnel.url}/v1/chat/completions`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(token === null ? {} : { "x-meridian-token": token }),
        },
        body: JSON.stringify({ model: "sim-chat", messages: [{ role: "user", content: "for nothing" }] }),
      });
      expect([401, 403]).toContain(response.status);
    }
    expect(await received()).toBe(before);
  });
});

here("replicas that come and go", () => {
  it("take their part and leave it, and no stream notices", async () => {
    const load = await keeper.underLoad(async () => {
      await region.addReplica();
      await keeper.bothSee(["healthy", "healthy", "healthy"]);
      region.lifecycle("i-1", "Terminating:Wait");
      await keeper.bothSee(["draining", "healthy", "healthy"]);
      expect(await eventually(stillBusy, (count) => count === 0)).toBe(0);
      await region.endReplica("i-1");
      region.lifecycle("i-1", null);
      await keeper.bothSee(["healthy", "healthy"]);
    });
    expect(load.errors).toEqual([]);
    await keeper.billIsExact();
  });

  it("may be told to stop in the middle of their streams", async () => {
    const load = await keeper.underLoad(async () => {
      await region.addReplica();
      await keeper.bothSee(["healthy", "healthy", "healthy"]);
      // Like a Spot notice: nobody told the gates before.
      await region.endReplica("i-2");
      region.lifecycle("i-2", null);
      await keeper.bothSee(["healthy", "healthy"]);
    });
    expect(load.errors).toEqual([]);
    await keeper.billIsExact();
  });

  /** Requests at replicas that drain. */
  async function stillBusy(): Promise<number> {
    const seen = await Promise.all(["a", "b"].map((gate) => region.seenBy(gate)));
    const draining = seen.flatMap(({ replicas }) => replicas.filter(({ state }) => state === "draining"));
    return draining.reduce((sum, { inFlight }) => sum + inFlight, 0);
  }
});

here("gates that leave", () => {
  it("lose no stream and no token when they are told to stop", async () => {
    const load = await keeper.underLoad(async () => {
      const { child, url } = region.gates.get("a")!;
      region.tunnel.withdraw(url);
      await child.stop();
      region.gates.delete("a");
    });
    expect(load.errors).toEqual([]);
    await keeper.billIsExact();
    await region.addGate("a");
    await keeper.bothSee(["healthy", "healthy"]);
  });

  it("break nothing when they die: the other gate carries on what ran through them", async () => {
    const dying = region.gates.get("b")!;
    let diedAtMs = 0;
    const load = await keeper.underLoad(async () => {
      await eventually(
        async () => (await region.seenBy("b")).open,
        (open) => open > 0,
      );
      diedAtMs = Date.now();
      dying.child.kill("SIGKILL");
      region.tunnel.withdraw(dying.url);
    });
    expect(load.errors).toEqual([]);
    expect((await keeper.underLoad()).errors).toEqual([]);
    const { billed, ledger, unreported } = await keeper.books(diedAtMs);
    // What a dead gate had not reported yet is never billed; a prompt that is computed again is not charged again.
    expect(billed.promptTokens).toBeLessThanOrEqual(ledger.promptTokens);
    expect(billed.outputTokens).toBeLessThanOrEqual(ledger.outputTokens);
    expect(billed.outputTokens).toBeGreaterThanOrEqual(ledger.outputTokens - unreported.outputTokens);
    const missing = ledger.outputTokens - billed.outputTokens;
    await keeper.underLoad();
    const after = await keeper.books();
    expect(after.ledger.outputTokens - after.billed.outputTokens).toBe(missing);
  }, 240_000);
});
