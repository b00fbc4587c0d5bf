import { env as bindings } from "cloudflare:workers";
import { afterEach, describe, test, vi } from "vitest";
import { QUARANTINE_MIN_MS } from "../../src/bounds.ts";
import { directory } from "../../src/durable/stub.ts";
import type { Env } from "../../src/env.ts";
import type { Death } from "../../src/routing/messages.ts";
import { ask } from "./admin-client.ts";
import { by, FIRST_PAGE, fresh, made } from "./registry-rig.ts";

const env = bindings as unknown as Env;
afterEach(() => {
  vi.restoreAllMocks();
});

const POISON = "poisonpoisonpoisonpois";
const OTHER = "otherotherotherotherot";

function death(id: string, fingerprints: readonly string[], atMs = Date.now()): Death {
  const present = fingerprints.map((fingerprint) => ({ fingerprint, begun: true }));
  return { id, pool: "us", replica: id, atMs, present };
}

describe("the registry", () => {
  test("holds who was present at two deaths, once, and says so in catalogue and audit", async ({
    expect,
  }) => {
    const { registry } = fresh();
    const before = (await registry.catalogue(-1))!;
    expect(before.quarantine).toBeUndefined();
    expect(await registry.died([death("a", [POISON, OTHER])], [])).toEqual({ held: [], retracted: [] });
    const suspected = (await registry.catalogue(before.version))!;
    expect(suspected.quarantine).toEqual({ held: [], suspects: [POISON, OTHER] });
    const { held } = await registry.died([death("b", [POISON])], [OTHER]);
    expect(held).toMatchObject([{ fingerprint: POISON, offences: 1 }]);
    expect(await registry.died([death("b", [POISON])], [])).toEqual({ held: [], retracted: [] });
    const { quarantine } = (await registry.catalogue(suspected.version))!;
    expect(quarantine).toMatchObject({ held: [{ fingerprint: POISON }], suspects: [] });
    expect(quarantine!.held[0]!.untilMs - Date.now()).toBeGreaterThan(QUARANTINE_MIN_MS - 5_000);
    const audit = await registry.listAudit(FIRST_PAGE);
    expect(audit.data).toMatchObject([
      { actor: "quarantine", action: "quarantine.hold", target: `quarantine/${POISON}` },
    ]);
  });

  test("lets go whom an operator releases, and no other", async ({ expect }) => {
    const { registry } = fresh();
    await registry.died([death("a", [POISON]), death("b", [POISON])], []);
    const page = await registry.listQuarantine(FIRST_PAGE);
    expect(page.data).toMatchObject([{ fingerprint: POISON, state: "held", deaths: 2, offences: 1 }]);
    expect(await registry.releaseQuarantine(by(), OTHER)).toMatchObject({ failure: { tag: "not_found" } });
    made(await registry.releaseQuarantine(by(), POISON));
    expect((await registry.listQuarantine(FIRST_PAGE)).data).toEqual([]);
    expect((await registry.catalogue(-1))!.quarantine).toBeUndefined();
  });

  test("pages in the order of fingerprints", async ({ expect }) => {
    const { registry } = fresh();
    const names = ["c", "a", "b"].map((name) => name.repeat(22));
    await registry.died([death("a", names)], []);
    const first = await registry.listQuarantine({ cursor: null, limit: 2 });
    expect([first.data.map(({ fingerprint }) => fingerprint[0]), first.nextCursor]).toEqual([
      ["a", "b"],
      "b".repeat(22),
    ]);
    const second = await registry.listQuarantine({ cursor: first.nextCursor, limit: 2 });
    expect([second.data.map(({ fingerprint }) => fingerprint[0]), second.nextCursor]).toEqual([["c"], null]);
  });
});

test("the admin API lists and releases, and every directory hears of it with the catalogue", async ({
  expect,
}) => {
  const registry = env.REGISTRY.getByName("registry") as unknown as ReturnType<typeof fresh>["registry"];
  await registry.died([death("x", [POISON]), death("y", [POISON])], []);
  const listed = await ask<{ data: { fingerprint: string; state: string }[] }>("GET", "/quarantine");
  expect(listed.json.data).toMatchObject([{ fingerprint: POISON, state: "held" }]);
  const snapshot = await directory(env, "weur").snapshot(-1);
  expect(snapshot.catalogue?.quarantine?.held).toMatchObject([{ fingerprint: POISON }]);
  expect((await ask("DELETE", "/quarantine/nobody")).status).toBe(404);
  expect((await ask("DELETE", `/quarantine/${POISON}`)).status).toBe(204);
  expect((await ask<{ data: unknown[] }>("GET", "/quarantine")).json.data).toEqual([]);
});
