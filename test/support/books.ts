import type { TenantUsage } from "../../src/limits/messages.ts";
import { eventually, type LedgerEntry, type TestStack } from "./stack.ts";

/** What a tenant was charged, what the replicas say, and what the edge counted. */
export interface Books {
  readonly billed: { readonly promptTokens: number; readonly outputTokens: number };
  readonly ledger: { readonly promptTokens: number; readonly outputTokens: number };
  readonly entries: readonly LedgerEntry[];
  readonly requests: number;
  /** Answered requests of the endpoint, by `/metrics`. */
  readonly counted: number;
  readonly open: number;
}

/** `endpoint`: as `/metrics` calls it. */
export async function books(stack: TestStack, endpoint: string): Promise<Books> {
  const { totals, open } = await stack.usage();
  const { promptTokens, outputTokens, entries } = await stack.ledgers();
  // Whatever their end: an SDK hangs up at `[DONE]`, now and then before the edge sees the end itself.
  const counted = await metric(stack, "meridian_requests_total", { endpoint, status: "200" });
  return {
    billed: { promptTokens: totals.promptTokens, outputTokens: totals.outputTokens },
    ledger: { promptTokens, outputTokens },
    entries,
    requests: totals.requests,
    counted,
    open: open.reservations,
  };
}

export function metrics(stack: TestStack, key = stack.info.adminKey): Promise<Response> {
  return fetch(`${stack.info.baseUrl}/metrics`, { headers: { authorization: `Bearer ${key}` } });
}

/** Sum over the series of a metric that carry these labels. */
async function metric(stack: TestStack, name: string, labels: Record<string, string>): Promise<number> {
  const text = await (await metrics(stack)).text();
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  const series = text
    .split("\n")
    .filter((line) => line.startsWith(`${name}{`) && wanted.every((one) => line.includes(one)));
  return series.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

/** A tenant's usage once none of its requests is open, and `also` holds. */
export function settledUsage(
  stack: TestStack,
  tenant?: string,
  also: (totals: TenantUsage["totals"]) => boolean = () => true,
): Promise<TenantUsage> {
  return eventually(
    () => stack.usage(tenant),
    ({ open, totals }) => open.reservations === 0 && also(totals),
  );
}
