import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type StackPlan, simulatedPlan } from "../../sim/stack/plan.ts";
import { settledUsage } from "../support/books.ts";
import {
  askAs,
  faultEverywhere,
  IN_FORCE_MS,
  LIMITS,
  patchModel,
  revisionOf,
  SERVED,
} from "../support/degraded.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

function plan(): StackPlan {
  const { regions } = simulatedPlan(1);
  return {
    models: [
      { id: "sim-plain", ...SERVED },
      { id: "sim-next", servedName: "sim-next", revision: { of: "sim-plain" } },
    ],
    regions: regions.slice(0, 2),
  };
}

let stack: TestStack;
let key: string;
beforeAll(async () => {
  const names = ["--model", "sim-chat", "--also-served-as", "sim-next"];
  stack = await testStack({ plan: plan(), simArgs: names });
  key = await stack.tenant("tester", LIMITS);
}, 120_000);
afterAll(() => stack?.end());

describe("rollouts", () => {
  const RELEASE = { of: "sim-plain", weight: 500 };
  const session = (name: string) =>
    askAs(stack, key, "sim-plain", "Of canaries. [len=4]", { headers: { "x-meridian-session": name } });

  it("copies for a shadow are charged to nobody", async () => {
    await patchModel(stack, "sim-next", { revision: { of: "sim-plain", shadow: 1_000 } });
    const copied = async () => {
      const got = await session("shadow");
      expect([got.status, revisionOf(got)]).toEqual([200, "sim-plain"]);
      return (await stack.ledgers()).entries.filter(({ id }) => id.endsWith(".shadow"));
    };
    expect((await eventually(copied, (all) => all.length > 2, IN_FORCE_MS)).length).toBeGreaterThan(2);
    const { totals, byKey } = await settledUsage(stack, "tester");
    const { entries } = await stack.ledgers();
    expect(byKey.some(({ model }) => model === "sim-next")).toBe(false);
    const real = entries.filter(({ id }) => !id.endsWith(".shadow"));
    expect(totals.outputTokens).toBe(real.reduce((sum, { outputTokens }) => sum + outputTokens, 0));
  });

  it("a session stays with its revision, until one call takes all of them back", async () => {
    await patchModel(stack, "sim-next", { revision: RELEASE });
    const names = Array.from({ length: 12 }, (_, nth) => `session ${nth}`);
    const found = async () => Promise.all(names.map(async (name) => revisionOf(await session(name))));
    const first = await eventually(found, (all) => new Set(all).size === 2, IN_FORCE_MS);
    expect(new Set(first)).toEqual(new Set(["sim-plain", "sim-next"]));
    expect(await found()).toEqual(first);
    // A stream that breaks off is carried on, and by the same revision.
    const ours = names[first.indexOf("sim-next")]!;
    await faultEverywhere(stack, { cut: { afterTokens: 5, count: 1, match: "Of breaking off" } });
    const headers = { "x-meridian-session": ours };
    const broken = await askAs(stack, key, "sim-plain", "Of breaking off. [len=40]", {
      more: { stream: true },
      headers,
    });
    await faultEverywhere(stack, {});
    const id = broken.headers.get("x-request-id");
    const parts = (await stack.ledgers()).entries.filter((entry) => entry.id === id);
    expect(parts.length).toBeGreaterThan(1);
    expect(new Set(parts.map(({ model }) => model))).toEqual(new Set(["sim-next"]));

    await stack.admin.must(200, "POST", "models/sim-plain/rollback");
    const after = await eventually(found, (all) => new Set(all).size === 1, IN_FORCE_MS);
    expect(new Set(after)).toEqual(new Set(["sim-plain"]));
  });

  it("a revision that fails costs no request, and is held", async () => {
    await patchModel(stack, "sim-next", { revision: RELEASE });
    await faultEverywhere(stack, { status: { code: 500, match: '"sim-next"' } });
    let nth = 0;
    const held = async () => {
      const all = await Promise.all(Array.from({ length: 8 }, () => session(`failing ${nth++}`)));
      expect(new Set(all.map(({ status }) => status))).toEqual(new Set([200]));
      return ((await stack.admin.must(200, "GET", "models/sim-next")) as { held?: object }).held;
    };
    const hold = await eventually(held, (found) => found !== undefined, 90_000);
    expect(hold).toMatchObject({ why: "errors" });
    const audit = (await stack.admin.must(200, "GET", "audit?limit=200")) as { data: object[] };
    expect(audit.data).toContainEqual(
      expect.objectContaining({ action: "model.hold", actor: "meridian", target: "models/sim-next" }),
    );
  }, 120_000);
});
