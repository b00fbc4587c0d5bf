import { env as bindings } from "cloudflare:workers";
import { vi } from "vitest";
import type { BudgetPlace, Limits } from "../../src/catalogue.ts";
import { budgetName, homeOf, type TenantBudgetStub } from "../../src/durable/stub.ts";
import type { Env } from "../../src/env.ts";
import type { BudgetReport } from "../../src/limits/messages.ts";
import type { Exchange } from "../../src/relay/exchange.ts";
import type { Reservation, reserve } from "../../src/relay/reserve.ts";
import type { View } from "../../src/relay/view.ts";
import { Trace } from "../../src/telemetry/trace.ts";
import { ASK, tenantRecord } from "../support/tenant.ts";

/** One tenant's real budget objects, and isolates that ask them through the relay's own code. */
export const env = bindings as unknown as Env;

/** A tenant of its own, whose home is in `enam`, and its objects by place. */
export async function tenant(limits: Limits, more: Parameters<typeof tenantRecord>[1] = {}) {
  const home = homeOf(crypto.randomUUID().slice(0, 11), "enam");
  const stub = (at: BudgetPlace) => env.TENANT_BUDGET.getByName(budgetName({ ...home, at }));
  const budget = (at: BudgetPlace) => stub(at) as unknown as TenantBudgetStub;
  await budget("enam").configure(tenantRecord(limits, more));
  return { ref: home.tenantRef, stub, budget };
}

export function said(requestId: string, outputTokens: number): BudgetReport {
  const usage = { promptTokens: 10, cachedTokens: 4, outputTokens };
  return {
    ...{ requestId, keyId: ASK.keyId, model: "m", attempt: 0, usage, final: true },
    ...{ tokensPerSecond: 50, unsent: false },
  };
}

let asks = 0;
export const newId = () => `req_${++asks}`;

export type Reserve = typeof reserve;

/** A relay with a memory of its own. */
export async function isolate(): Promise<Reserve> {
  vi.resetModules();
  return (await import("../../src/relay/reserve.ts")).reserve;
}

/** An isolate's next request in `enam`. `later` takes what it leaves to its `waitUntil`. */
export async function request(
  by: Reserve,
  tenantRef: string,
  over: Env = env,
  later: (work: Promise<unknown>) => void = () => undefined,
): Promise<{ id: string; reserved: Reservation }> {
  const id = newId();
  const measure = { proseChars: 30, codeChars: 0, cjkChars: 0, otherChars: 0 };
  const call = { ...ASK, endpoint: "chat", measure, fixedTokens: 0, stream: true };
  const { keyId, secretHash } = ASK;
  const exchange = {
    ...{ env: over, here: "enam", call, trace: new Trace(id, Date.now()), terms: { id, free: false } },
    ...{ claims: { tenantRef, keyId, secretHash, homeHint: "enam" }, ctx: { waitUntil: later } },
  } as unknown as Exchange;
  const view = { learned: new Map() } as unknown as View;
  const model = { id: "m", version: 1 } as unknown as Parameters<Reserve>[1];
  return { id, reserved: await by(exchange, model, view) };
}
