import { createHash } from "node:crypto";
import { lookup } from "node:dns/promises";
import { isIPv6 } from "node:net";
import { RESOLVE_TIMEOUT_MS } from "./bounds.ts";
import type { ReplicaSource } from "./config.ts";

export interface ReplicaAddress {
  readonly id: string;
  readonly url: string;
  readonly dcgmUrl?: string | undefined;
  /** The cloud is about to end its machine: it finishes what it has and gets nothing new. */
  readonly draining?: boolean;
}

/** All addresses of a name. Rejects when the name cannot be resolved. */
export type Resolve = (name: string) => Promise<readonly string[]>;

export const systemResolve: Resolve = async (name) => {
  const late = new Promise<never>((_resolve, reject) => {
    setTimeout(() => reject(new Error("the resolver took too long")), RESOLVE_TIMEOUT_MS).unref();
  });
  const found = await Promise.race([lookup(name, { all: true }), late]);
  return found.map(({ address }) => address);
};

/** The replicas that there are now. Rejects when that cannot be told: the caller keeps those that it knows. */
export async function discover(
  source: Exclude<ReplicaSource, { aws: unknown }>,
  resolve: Resolve,
): Promise<ReplicaAddress[]> {
  if ("static" in source) return source.static;
  const { name, port, dcgmPort } = source.dns;
  const addresses = [...new Set(await resolve(name))].sort();
  return addresses.map((address) => replicaAt(address, port, dcgmPort));
}

/** How often to look again; null: never. */
export function rediscoveryMs(source: ReplicaSource): number | null {
  if ("static" in source) return null;
  return "dns" in source ? source.dns.everyMs : source.aws.everyMs;
}

/** The replica at an IP address. */
export function replicaAt(address: string, port: number, dcgmPort: number | undefined): ReplicaAddress {
  const host = isIPv6(address) ? `[${address}]` : address;
  return {
    id: replicaIdOf(host, port),
    url: `http://${host}:${port}`,
    ...(dcgmPort === undefined ? {} : { dcgmUrl: `http://${host}:${dcgmPort}/metrics` }),
  };
}

/** Stable for an address, and tells no client what the address is: replica ids stand in response headers. */
function replicaIdOf(host: string, port: number): string {
  return `r-${createHash("sha256").update(`${host}:${port}`).digest("hex").slice(0, 10)}`;
}
