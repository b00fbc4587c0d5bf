import { runInDurableObject } from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import { vi } from "vitest";
import type { Tenant, TenantRecord } from "../../src/catalogue.ts";
import type { By, Change } from "../../src/durable/registry/messages.ts";
import type { Registry } from "../../src/durable/registry.ts";
import { TenantBudget } from "../../src/durable/tenant-budget.ts";
import type { Env } from "../../src/env.ts";
import { type KeyClaims, tenantRefOf } from "../../src/keys.ts";

const env = bindings as unknown as Env;
export const FIRST_PAGE = { cursor: null, limit: 50 };

/** A registry of its own for each test. */
export function fresh() {
  const stub = env.REGISTRY.getByName(crypto.randomUUID());
  return { stub, registry: stub as unknown as Registry };
}

export function by(requestId: string = crypto.randomUUID()): By {
  return { actor: "tester00", requestId };
}

export function tenantInput(id: string) {
  const limits = { tokensPerMinute: 1_000 };
  return {
    id,
    name: id,
    limits,
    endUserLimits: {},
    overdraft: "debt",
    softAllowanceTokens: 0,
    homeHint: "weur",
    suspended: false,
  } as const;
}

export async function claimsFor(tenantId: string, keyId = "k".padEnd(10, "0")): Promise<KeyClaims> {
  const tenantRef = await tenantRefOf(tenantId);
  return { tenantRef, keyId, homeHint: "weur", secretHash: `hash of ${keyId}` };
}

export function made<T>(change: Change<T>): T {
  if (!change.ok) throw new Error(JSON.stringify(change.failure));
  return change.value;
}

export async function newTenant(registry: Registry, id: string): Promise<Tenant> {
  return made(await registry.createTenant(by(), tenantInput(id)));
}

/** Records that budget objects took, in order; while `down`, they take none. */
export function watchBudgets() {
  const taken: TenantRecord[] = [];
  const state = { down: false, taken };
  vi.spyOn(TenantBudget.prototype, "configure").mockImplementation(async (record) => {
    if (state.down) throw new Error("budget object out of reach");
    taken.push(record);
  });
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  return state;
}

type OutboxRow = { tenant_ref: string; version: number; attempts: number; due_at_ms: number };

export function outboxOf(stub: DurableObjectStub): Promise<OutboxRow[]> {
  return runInDurableObject(stub, (_, state) =>
    state.storage.sql
      .exec<OutboxRow>("SELECT tenant_ref, version, attempts, due_at_ms FROM outbox")
      .toArray(),
  );
}

/** Lets the next attempt be due, without waiting for it. */
export function makeDue(stub: DurableObjectStub): Promise<unknown> {
  return runInDurableObject(stub, (_, state) => state.storage.sql.exec("UPDATE outbox SET due_at_ms = 0"));
}
