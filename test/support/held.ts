import type { StackInfo } from "../../sim/stack/stack.ts";
import { START_DEADLINE_MS, UNREPORTED_GRACE_MS } from "../../src/bounds.ts";
import type { TenantUsage } from "../../src/limits/messages.ts";
import { chat, NEAR, type Region } from "./endings.ts";
import { eventually, type TestStack } from "./stack.ts";

/** What a request leaves behind: its charge, and whatever is still held for it. */

/**
 * The longest that a reservation stays open which the edge died with before a gate had the request: a gate might start it
 * until its order expires, and would say so within the grace. With time for the alarm that then voids it.
 */
export const UNSTARTED_HELD_MAX_MS = START_DEADLINE_MS + UNREPORTED_GRACE_MS + 15_000;

export interface Tokens {
  readonly promptTokens: number;
  readonly outputTokens: number;
}

/** What a tenant was charged from now on. */
export async function meterFrom(
  stack: TestStack,
  tenant?: string,
): Promise<{ charged(): Promise<Tokens>; becomes(expected: Tokens): Promise<Tokens> }> {
  const tokens = ({ totals }: TenantUsage): Tokens => ({
    promptTokens: totals.promptTokens,
    outputTokens: totals.outputTokens,
  });
  const before = tokens(await stack.usage(tenant));
  const charged = async () => {
    const now = tokens(await stack.usage(tenant));
    return {
      promptTokens: now.promptTokens - before.promptTokens,
      outputTokens: now.outputTokens - before.outputTokens,
    };
  };
  const same = (one: Tokens, other: Tokens) =>
    one.promptTokens === other.promptTokens && one.outputTokens === other.outputTokens;
  return { charged, becomes: (expected) => eventually(charged, (now) => same(now, expected), 8_000) };
}

/** Everything that could still be held somewhere; empty when nothing is. */
export async function stillHeld(stack: TestStack, tenant?: string, withinMs = 15_000): Promise<string[]> {
  const look = async () => {
    const { open } = await stack.usage(tenant);
    const ofTenant = open.reservations > 0 ? [`reservations of the tenant: ${JSON.stringify(open)}`] : [];
    const ofRegions = await Promise.all(stack.info.regions.map((region) => heldIn(stack, region)));
    return [...ofTenant, ...ofRegions.flat()];
  };
  return eventually(look, (held) => held.length === 0, withinMs);
}

async function heldIn(stack: TestStack, { name, replicas }: StackInfo["regions"][number]): Promise<string[]> {
  const [states, running] = await Promise.all([
    live(stack, name),
    Promise.all(replicas.map(({ url }) => runningAt(url))),
  ]);
  return [
    ...states
      .filter(({ state }) => state.inUse + state.waiting > 0)
      .map(({ model, state }) => `${name}/${model}: ${state.inUse} permits, ${state.waiting} waiting`),
    ...replicas.flatMap(({ id }, index) => (running[index] === 0 ? [] : [`${id} runs ${running[index]}`])),
  ];
}

interface Live {
  readonly model: string;
  readonly state: {
    readonly inUse: number;
    readonly waiting: number;
    readonly replicas: readonly {
      readonly id: string;
      readonly usable: boolean;
      readonly state: string;
      readonly breaker: string;
    }[];
  };
}

export async function live(stack: TestStack, pool: string): Promise<Live[]> {
  return ((await stack.admin.call("GET", `pools/${pool}`)).body as { live: Live[] }).live;
}

/** Requests that an engine has, or why it cannot be asked. */
async function runningAt(url: string): Promise<number | string> {
  try {
    const text = await (await fetch(`${url}/metrics`)).text();
    const gauges = /^vllm:num_requests_(?:running|waiting)\{[^}]*\} (\S+)/gm;
    return [...text.matchAll(gauges)].reduce((sum, [, value]) => sum + Number(value), 0);
  } catch (error) {
    return String(error);
  }
}

/**
 * Clears all faults and lets every replica answer once, so that failures of one case do not open a breaker in
 * another. Resolves when all take requests again.
 * @param key of a tenant of its own: what it costs is no part of any case
 */
export async function heal(stack: TestStack, key: string): Promise<void> {
  const { regions } = stack.info;
  await Promise.all(regions.flatMap(({ replicas }) => replicas.map(({ id }) => cleared(stack, id))));
  if (!(await eventually(() => allUsable(stack), Boolean, 30_000))) {
    throw new Error("a replica stays unusable");
  }
  await Promise.all(regions.map((region) => allAsked(stack, region, key)));
}

/** As the pools know it, and as the edge sees it from every location: its snapshots are up to two seconds old. */
async function allUsable(stack: TestStack): Promise<boolean> {
  const { regions, baseUrl } = stack.info;
  const states = (await Promise.all(regions.map(({ name }) => live(stack, name)))).flat();
  const replicas = states.flatMap(({ state }) => state.replicas);
  const seen = await Promise.all(
    Object.values(NEAR).map(async (location) => {
      const answer = await fetch(`${baseUrl}/ready`, { headers: { "x-meridian-dev-location": location } });
      return ((await answer.json()) as { usable?: number }).usable;
    }),
  );
  return replicas.every(({ usable }) => usable) && seen.every((usable) => usable === replicas.length);
}

/** One that was killed comes back, without faults. */
async function cleared(stack: TestStack, replica: string): Promise<void> {
  const clear = () =>
    stack.fault(replica, {}).then(
      () => true,
      () => false,
    );
  if (!(await eventually(clear, Boolean))) throw new Error(`${replica} does not come back`);
}

async function allAsked(
  stack: TestStack,
  { name, replicas }: StackInfo["regions"][number],
  key: string,
): Promise<void> {
  const missing = new Set(replicas.map(({ id }) => id));
  const askAll = async () => {
    const asks = Array.from({ length: 2 * replicas.length }, () =>
      chat(stack, { prompt: "Hello. [len=3]", stream: false, from: name as Region, key }),
    );
    for (const { headers } of await Promise.all(asks)) {
      missing.delete(headers.get("x-meridian-replica") ?? "");
    }
    return missing.size;
  };
  // Not more often: asks that find their region out take from the budget of retries, which the cases need.
  if ((await eventually(askAll, (left) => left === 0, 20_000, 1_000)) > 0) {
    throw new Error(`no request reached ${[...missing].join(", ")}`);
  }
}
