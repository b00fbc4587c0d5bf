import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, test, vi } from "vitest";
import { APPROVAL_DEFAULT_MS, PROPOSAL_OPEN_MS } from "../../src/bounds.ts";
import type { ModelInput } from "../../src/catalogue.ts";
import { RegionPool } from "../../src/durable/region-pool.ts";
import type { Approval, By } from "../../src/durable/registry/messages.ts";
import type { Registry } from "../../src/durable/registry.ts";
import type { Outcomes } from "../../src/routing/messages.ts";
import { by, FIRST_PAGE, fresh, made } from "./registry-rig.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

const alice = (): By => ({ actor: "alice", requestId: crypto.randomUUID() });
const bob = (): By => ({ actor: "bob", requestId: crypto.randomUUID() });
const WHY = "a test";

async function withModels(registry: Registry): Promise<void> {
  made(await registry.createModel(by(), { id: "small", kind: "generate" }));
  const degrade: ModelInput["degrade"] = { smallerModel: "small", waitMs: 0, needsApproval: ["model"] };
  made(await registry.createModel(by(), { id: "big", kind: "generate", degrade }));
}

const PROPOSAL = { model: "big", step: "model", mode: "allow", reason: WHY } as const;
const controls = async (registry: Registry) => (await registry.catalogue(-1))!.controls!;
const actions = async (registry: Registry) =>
  (await registry.listAudit(FIRST_PAGE)).data.map(({ action, actor }) => `${action} by ${actor}`);

/** Lets an approval's time be over, without waiting for it. */
function makeEnd(stub: DurableObjectStub, id: string): Promise<unknown> {
  return runInDurableObject(stub, (_, state) => {
    const query = "SELECT document FROM approvals WHERE id = ?";
    const { document } = state.storage.sql.exec<{ document: string }>(query, id).one();
    const untilMs = Date.now() - 1;
    const ended = JSON.stringify({ ...(JSON.parse(document) as Approval), untilMs });
    const update = "UPDATE approvals SET until_ms = ?, document = ? WHERE id = ?";
    state.storage.sql.exec(update, untilMs, ended, id);
  });
}

describe("approvals", () => {
  test("somebody else has to say yes, and then it is in force for a while", async ({ expect }) => {
    const { stub, registry } = fresh();
    await withModels(registry);
    const { version } = (await registry.catalogue(-1))!;
    const proposed = made(await registry.propose(alice(), PROPOSAL));
    expect(proposed).toMatchObject({ state: "proposed", proposedBy: "alice", decidedBy: null });
    expect(await controls(registry)).toEqual([]);
    expect(await registry.approve(alice(), proposed.id, 1_000)).toMatchObject({
      ok: false,
      failure: { tag: "conflict", detail: expect.stringContaining("somebody else") },
    });
    await evictDurableObject(stub);
    const approved = made(await registry.approve(bob(), proposed.id, APPROVAL_DEFAULT_MS));
    expect(approved).toMatchObject({ state: "approved", decidedBy: "bob" });
    const { mode, step, model } = PROPOSAL;
    expect(await controls(registry)).toEqual([{ model, step, mode, untilMs: approved.untilMs }]);
    expect((await registry.catalogue(version))!.version).toBeGreaterThan(version);
    expect(await actions(registry)).toEqual(
      expect.arrayContaining(["approval.propose by alice", "approval.approve by bob"]),
    );
  });

  test("however many edges propose it, it is one; the next comes after its end", async ({ expect }) => {
    const { stub, registry } = fresh();
    await withModels(registry);
    const one = made(await registry.propose(by(), PROPOSAL));
    expect(made(await registry.propose(by(), PROPOSAL)).id).toBe(one.id);
    made(await registry.reject(bob(), one.id));
    const two = made(await registry.propose(by(), PROPOSAL));
    expect(two.id > one.id).toBe(true);
    await makeEnd(stub, two.id);
    expect(made(await registry.propose(by(), PROPOSAL)).id > two.id).toBe(true);
    const ids = (await registry.listApprovals({ cursor: null, limit: 2 })).data.map(({ id }) => id);
    expect(ids).toHaveLength(2);
    expect(ids.at(-1)).toBe(two.id);
  });

  test("a proposal lapses and an approval ends, by the alarm and with an audit entry", async ({ expect }) => {
    const { stub, registry } = fresh();
    await withModels(registry);
    const one = made(await registry.propose(alice(), PROPOSAL));
    const alarmAtMs = await runInDurableObject(stub, (_, state) => state.storage.getAlarm());
    expect(alarmAtMs).toBe(one.proposedAtMs + PROPOSAL_OPEN_MS);
    await makeEnd(stub, one.id);
    expect(await registry.approve(bob(), one.id, 1_000)).toMatchObject({
      ok: false,
      failure: { tag: "conflict" },
    });
    await runDurableObjectAlarm(stub);
    const two = made(await registry.propose(alice(), PROPOSAL));
    made(await registry.approve(bob(), two.id, 60_000));
    await makeEnd(stub, two.id);
    const { version } = (await registry.catalogue(-1))!;
    await runDurableObjectAlarm(stub);
    expect(await registry.catalogue(version)).toMatchObject({ controls: [] });
    const states = (await registry.listApprovals(FIRST_PAGE)).data.map(({ state }) => state);
    expect(states).toEqual(["expired", "expired"]);
    expect(
      (await actions(registry)).filter((action) => action === "approval.expire by meridian"),
    ).toHaveLength(2);
  });

  test("one that is in force can be ended, and one that is over stays over", async ({ expect }) => {
    const { registry } = fresh();
    await withModels(registry);
    const { id } = made(await registry.propose(alice(), PROPOSAL));
    made(await registry.approve(bob(), id, 60_000));
    expect(made(await registry.reject(alice(), id)).state).toBe("rejected");
    expect(await controls(registry)).toEqual([]);
    expect(await registry.approve(bob(), id, 60_000)).toMatchObject({ ok: false });
    expect(await registry.approve(bob(), "apr_none", 1)).toMatchObject({ failure: { tag: "not_found" } });
  });

  test("a step that needs none is not proposed", async ({ expect }) => {
    const { registry } = fresh();
    await withModels(registry);
    expect(await registry.propose(by(), { ...PROPOSAL, step: "cache" })).toMatchObject({
      failure: { tag: "conflict" },
    });
  });
});

describe("overrides", () => {
  const force = { step: "region", mode: "force", reason: WHY, untilMs: null } as const;

  test("are in force at once, replaced by the next and taken back", async ({ expect }) => {
    const { registry } = fresh();
    await withModels(registry);
    expect(made(await registry.overrideStep(alice(), "big", force))).toMatchObject({
      kind: "override",
      override: { by: "alice", mode: "force" },
    });
    made(await registry.overrideStep(bob(), "big", { ...force, mode: "forbid" }));
    const control = { model: "big", step: "region", mode: "forbid", untilMs: null };
    expect(await controls(registry)).toEqual([control]);
    made(await registry.clearStep(bob(), "big", "region"));
    expect(await controls(registry)).toEqual([]);
    expect(await registry.clearStep(bob(), "big", "region")).toMatchObject({ failure: { tag: "not_found" } });
    expect(await actions(registry)).toEqual(
      expect.arrayContaining(["override.set by alice", "override.set by bob", "override.clear by bob"]),
    );
  });

  test("forcing a step that needs approval takes two; forbidding it takes one", async ({ expect }) => {
    const { registry } = fresh();
    await withModels(registry);
    const forced = made(await registry.overrideStep(alice(), "big", { ...force, step: "model" }));
    if (forced.kind !== "proposal") throw new Error("it was forced by one");
    expect(await controls(registry)).toEqual([]);
    expect(await registry.approve(alice(), forced.approval.id, 1_000)).toMatchObject({ ok: false });
    made(await registry.approve(bob(), forced.approval.id, 60_000));
    expect(await controls(registry)).toMatchObject([{ step: "model", mode: "force" }]);
    made(await registry.overrideStep(alice(), "big", { ...force, step: "model", mode: "forbid" }));
    expect(await controls(registry)).toMatchObject([{ mode: "forbid" }, { mode: "force" }]);
  });

  test("end by themselves", async ({ expect }) => {
    const { stub, registry } = fresh();
    await withModels(registry);
    made(await registry.overrideStep(alice(), "big", { ...force, untilMs: 1 }));
    await runDurableObjectAlarm(stub);
    expect(await controls(registry)).toEqual([]);
    expect(await actions(registry)).toContain("override.expire by meridian");
  });
});

describe("rules between models", () => {
  const create = (registry: Registry, id: string, more: object) =>
    registry.createModel(by(), { id, kind: "generate", ...more });
  const smaller = (smallerModel: string) => ({ degrade: { smallerModel, waitMs: 0, needsApproval: [] } });
  const revision = (of: string, weight: number) => ({
    revision: { of, weight, shadow: 0, errorRate: 0.02, latencyRatio: 1.5 },
  });
  const refusedFor = (param: string) => ({ ok: false, failure: { tag: "invalid_field", param } });

  test("a smaller model exists, is of the same kind, and does not lead back", async ({ expect }) => {
    const { registry } = fresh();
    expect(await create(registry, "a", smaller("b"))).toMatchObject(refusedFor("degrade.smallerModel"));
    made(await registry.createModel(by(), { id: "e", kind: "embed" }));
    expect(await create(registry, "a", smaller("e"))).toMatchObject(refusedFor("degrade.smallerModel"));
    expect(await create(registry, "a", smaller("a"))).toMatchObject(refusedFor("degrade.smallerModel"));
    const b = made(await create(registry, "b", {}));
    made(await create(registry, "a", smaller("b")));
    expect(await registry.updateModel(by(), "b", b.version, smaller("a"))).toMatchObject(
      refusedFor("degrade.smallerModel"),
    );
    expect(await registry.removeModel(by(), "b", null)).toMatchObject({ failure: { tag: "conflict" } });
  });

  test("revisions have a base, an engine's name of their own, and no more than all of its traffic", async ({
    expect,
  }) => {
    const { registry } = fresh();
    made(await create(registry, "m", {}));
    expect(await create(registry, "m:2", revision("x", 1))).toMatchObject(refusedFor("revision.of"));
    const same = { ...revision("m", 1), servedName: "m" };
    expect(await create(registry, "m:2", same)).toMatchObject(refusedFor("revision.of"));
    made(await create(registry, "m:2", revision("m", 600)));
    expect(await create(registry, "m:3", revision("m", 401))).toMatchObject(refusedFor("revision.weight"));
    expect(await create(registry, "m:3", revision("m:2", 1))).toMatchObject(refusedFor("revision.of"));
    expect(await registry.removeModel(by(), "m", null)).toMatchObject({ failure: { tag: "conflict" } });
  });
});

describe("rollouts", () => {
  const outcomes = (ok: number, failed: number): Outcomes => ({ ok, failed, waits: [] });

  async function withRollout(registry: Registry) {
    made(await registry.createModel(by(), { id: "m", kind: "generate" }));
    const revision = { of: "m", weight: 100, shadow: 0, errorRate: 0.02, latencyRatio: 1.5 };
    made(await registry.createModel(by(), { id: "m:2", kind: "generate", revision }));
    const models = ["m", "m:2"].map((model) => ({ model, concurrencyPerReplica: 4 }));
    const place = { region: "r", position: { latitude: 0, longitude: 0 }, hint: "weur" } as const;
    made(
      await registry.createPool(by(), {
        ...{ id: "p", ...place, gates: ["https://gate.test"], models, drained: false },
      }),
    );
    return revision;
  }

  /** What the pools say; by model. */
  function pools(said: Record<string, Outcomes>) {
    vi.spyOn(RegionPool.prototype, "outcomes").mockImplementation(function (this: RegionPool) {
      const name = (this as unknown as { ctx: DurableObjectState }).ctx.id.name ?? "";
      return said[name.split("/").at(-2)!]!;
    });
  }

  const look = async (stub: DurableObjectStub) => {
    await evictDurableObject(stub);
    await runDurableObjectAlarm(stub);
  };
  const revisionNow = async (registry: Registry) => {
    const found = await registry.getModel("m:2");
    if (!found.ok) throw new Error("the revision is gone");
    return found.value;
  };

  test("a revision that is worse is held, once, by the router, with the reason", async ({ expect }) => {
    const { stub, registry } = fresh();
    const revision = await withRollout(registry);
    pools({ m: outcomes(100, 0), "m:2": outcomes(95, 1) });
    await look(stub);
    expect((await revisionNow(registry)).held).toBeUndefined();
    pools({ m: outcomes(100, 0), "m:2": outcomes(10, 10) });
    await look(stub);
    const { held, version } = await revisionNow(registry);
    expect(held).toMatchObject({ why: "errors", detail: "error rate 50.0 % against 0.0 %" });
    expect((await actions(registry)).filter((action) => action === "model.hold by meridian")).toHaveLength(1);
    // Held ones are not looked at: nothing is left to be woken for.
    expect(await runDurableObjectAlarm(stub)).toBe(false);
    const opened = made(await registry.updateModel(alice(), "m:2", version, { revision }));
    expect(opened.held).toBeUndefined();
    expect(opened.revisedAtMs).toBeGreaterThanOrEqual(held!.atMs);
  });

  test("one call takes all traffic back", async ({ expect }) => {
    const { registry } = fresh();
    await withRollout(registry);
    const [rolledBack] = made(await registry.rollBack(alice(), "m"));
    expect(rolledBack).toMatchObject({ id: "m:2", revision: { weight: 0 }, held: { why: "rolled_back" } });
    const again = made(await registry.rollBack(alice(), "m"));
    expect(again[0]!.version).toBe(rolledBack!.version);
    expect(await registry.rollBack(alice(), "nobody")).toMatchObject({ failure: { tag: "not_found" } });
    expect(await actions(registry)).toContain("model.roll-back by alice");
  });
});
