import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { type StackPlan, simulatedPlan } from "../../sim/stack/plan.ts";
import { freePorts } from "../../sim/stack/ports.ts";
import { type Stack, startStack } from "../../sim/stack/stack.ts";
import type { TenantUsage } from "../../src/limits/messages.ts";
import { firstPort } from "./ports.ts";

/** A whole local deployment in a folder of its own, and ways to look into it. */
export interface TestStack extends Stack {
  readonly stateDir: string;
  openai(options?: { key?: string; location?: string; maxRetries?: number }): OpenAI;
  anthropic(): Anthropic;
  /** Raw HTTP with the demo tenant's key. */
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  usage(tenant?: string): Promise<TenantUsage>;
  fault(replica: string, fault: Record<string, unknown>): Promise<void>;
  ledgers(): Promise<LedgerTotals>;
  /** A tenant of its own with one key. */
  tenant(id: string, limits: Record<string, number>, more?: Record<string, unknown>): Promise<string>;
  end(): Promise<void>;
}

export interface LedgerTotals {
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly entries: readonly LedgerEntry[];
}

export interface LedgerEntry {
  readonly id: string;
  readonly replica: string;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly state: string;
  readonly aborted: boolean;
  /** As the engine was asked for it. */
  readonly model: string | null;
}

let nextPort = firstPort();

export async function testStack(
  options: {
    plan?: StackPlan;
    simArgs?: string[];
    stateDir?: string;
    port?: number;
    edgeEnv?: Record<string, string>;
    reportsBy?: (edgeUrl: string) => Promise<string>;
  } = {},
): Promise<TestStack> {
  const stateDir = options.stateDir ?? mkdtempSync(join(tmpdir(), "meridian-e2e-"));
  const [port] = options.port === undefined ? await freePorts(1, nextPort++) : [options.port];
  const stack = await startStack({
    plan: options.plan ?? simulatedPlan(),
    port: port!,
    stateDir,
    simArgs: options.simArgs ?? [],
    edgeEnv: options.edgeEnv ?? {},
    ...(options.reportsBy === undefined ? {} : { reportsBy: options.reportsBy }),
  });
  const { info, admin } = stack;
  const replicaUrls = new Map(
    info.regions.flatMap((region) => region.replicas.map(({ id, url }) => [id, url] as const)),
  );
  return {
    ...stack,
    stateDir,
    openai: ({ key = info.tenant.key, location, maxRetries = 0 } = {}) =>
      new OpenAI({
        baseURL: `${info.baseUrl}/v1`,
        apiKey: key,
        maxRetries,
        ...(location === undefined ? {} : { defaultHeaders: { "x-meridian-dev-location": location } }),
      }),
    anthropic: () => new Anthropic({ baseURL: info.baseUrl, apiKey: info.tenant.key, maxRetries: 0 }),
    post: (path, body, headers = {}) =>
      fetch(`${info.baseUrl}${path}`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${info.tenant.key}`,
          "content-type": "application/json",
          ...headers,
        },
        body:
          typeof body === "string" || body instanceof Uint8Array ? (body as BodyInit) : JSON.stringify(body),
      }),
    usage: async (tenant = info.tenant.id) =>
      (await admin.must(200, "GET", `tenants/${tenant}/usage`)) as TenantUsage,
    async fault(replica, fault) {
      const response = await fetch(`${replicaUrls.get(replica)}/_sim/faults`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(fault),
      });
      if (!response.ok) throw new Error(`fault refused: ${await response.text()}`);
    },
    ledgers: () => readLedgers(replicaUrls),
    async tenant(id, limits, more = {}) {
      await admin.must(201, "POST", "tenants", { id, name: id, limits, ...more });
      return ((await admin.must(201, "POST", `tenants/${id}/keys`, {})) as { key: string }).key;
    },
    async end() {
      await stack.stop();
      if (options.stateDir === undefined) rmSync(stateDir, { recursive: true, force: true });
    },
  };
}

async function readLedgers(replicaUrls: ReadonlyMap<string, string>): Promise<LedgerTotals> {
  const entries: LedgerEntry[] = [];
  for (const [replica, url] of replicaUrls) {
    const ledger = (await (await fetch(`${url}/_sim/ledger`)).json()) as {
      requests: Record<string, Omit<LedgerEntry, "id" | "replica"> | Omit<LedgerEntry, "id" | "replica">[]>;
    };
    for (const [id, value] of Object.entries(ledger.requests)) {
      for (const entry of Array.isArray(value) ? value : [value]) entries.push({ ...entry, id, replica });
    }
  }
  return {
    promptTokens: entries.reduce((sum, entry) => sum + entry.promptTokens, 0),
    outputTokens: entries.reduce((sum, entry) => sum + entry.outputTokens, 0),
    entries,
  };
}

/** Waits for something that the stack does by itself, at most `withinMs`, and looks every `everyMs`. */
export async function eventually<T>(
  look: () => Promise<T>,
  holds: (value: T) => boolean,
  withinMs = 20_000,
  everyMs = 100,
): Promise<T> {
  const untilMs = Date.now() + withinMs;
  for (;;) {
    const value = await look();
    if (holds(value) || Date.now() > untilMs) return value;
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
