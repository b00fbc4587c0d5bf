import type { Redis } from "@upstash/redis/cloudflare";
import { LISTS_FRESH_MS, LISTS_IN_FORCE_MS, LISTS_MEMBERS_MAX, LISTS_STALE_MAX_MS } from "../bounds.ts";
import { tenantRefOf } from "../keys.ts";
import { setGauge } from "../telemetry/metrics.ts";

/** A set of `tenant:<id>`, `key:<key id>` and `address:<address>`: one command reads all, and all at one moment. */
export const DENIED_KEY = "meridian:denied";

/** Who asks, as far as lists and flood guard care. */
export interface Asker {
  readonly tenantRef: string;
  readonly keyId: string;
  /** As `addressOf` writes it. */
  readonly address: string;
}

export type Denied = "tenant" | "key" | "address";

/** Plain data, shared by all requests of an isolate. */
interface Lists {
  readonly tenantRefs: ReadonlySet<string>;
  readonly keyIds: ReadonlySet<string>;
  readonly addresses: ReadonlySet<string>;
  readonly atMs: number;
}

/** Who is denied, as this isolate last read it. */
export class DenyLists {
  readonly #redis: Pick<Redis, "smembers">;
  #known: Lists | null = null;
  /** A background reading is under way until then: no other need begin. */
  #readingUntilMs = 0;
  /** Refs of the denied tenants by id: a reading every few seconds must not hash every id again. */
  #refs = new Map<string, string>();

  constructor(redis: Pick<Redis, "smembers">) {
    this.#redis = redis;
  }

  /**
   * `current`: good as it is. `aging`: good, and due to be read again in the background. `old`: to be read before it
   * is used, because what was decided in the meantime would come into force too late.
   */
  age(nowMs: number): "current" | "aging" | "old" {
    const ageMs = this.#ageMs(nowMs);
    if (ageMs < LISTS_FRESH_MS) return "current";
    if (ageMs >= LISTS_IN_FORCE_MS) return "old";
    return nowMs < this.#readingUntilMs ? "current" : "aging";
  }

  /** True while what was read last still counts, for want of anything newer. */
  usable(nowMs: number): boolean {
    return this.#ageMs(nowMs) < LISTS_STALE_MAX_MS;
  }

  /** Which entry denies, or null. Lists that are not usable deny nobody. */
  denies(asker: Asker, nowMs: number): Denied | null {
    if (this.#known === null || !this.usable(nowMs)) return null;
    if (this.#known.tenantRefs.has(asker.tenantRef)) return "tenant";
    if (this.#known.keyIds.has(asker.keyId)) return "key";
    return this.#known.addresses.has(asker.address) ? "address" : null;
  }

  /** Reads the set. Rejects when Redis fails; what was known before then stays. */
  async read(nowMs: number): Promise<void> {
    this.#readingUntilMs = nowMs + LISTS_FRESH_MS;
    const members = (await this.#redis.smembers(DENIED_KEY)).slice(0, LISTS_MEMBERS_MAX);
    const byKind = { tenant: [], key: [], address: [], unknown: [] } as Record<Denied | "unknown", string[]>;
    for (const member of members) {
      const entry = entryOf(member);
      byKind[entry?.kind ?? "unknown"].push(entry?.name ?? member);
    }
    const refs = new Map<string, string>();
    for (const id of byKind.tenant) refs.set(id, this.#refs.get(id) ?? (await tenantRefOf(id)));
    this.#refs = refs;
    const addresses = new Set(byKind.address);
    // An older reading that ends later must not undo a newer one.
    if (this.#known !== null && this.#known.atMs > nowMs) return;
    this.#known = { tenantRefs: new Set(refs.values()), keyIds: new Set(byKind.key), addresses, atMs: nowMs };
    // An entry with a slip in it denies nobody: its operator sees it counted as unknown.
    for (const [kind, names] of Object.entries(byKind))
      setGauge("meridian_denied_entries", { kind }, names.length);
  }

  #ageMs(nowMs: number): number {
    return this.#known === null ? Infinity : nowMs - this.#known.atMs;
  }
}

/** What a member of the set means, or null when it means nothing. */
function entryOf(member: string): { readonly kind: Denied; readonly name: string } | null {
  const [, kind, name = ""] = /^(tenant|key|address):(\S+)$/.exec(member) ?? [];
  if (kind === "tenant") return { kind, name };
  if (kind === "key") return /^[0-9A-Za-z]{10}$/.test(name) ? { kind, name } : null;
  if (kind !== "address" || !ADDRESS.test(name)) return null;
  return { kind, name: addressOf(name) };
}

/** IPv4, or IPv6 with or without its `/64`. Other ranges are for a firewall in front. */
const ADDRESS = /^(\d{1,3}(\.\d{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(\/64)?)$/;

/**
 * A client's address as it is counted and denied: IPv4 whole, IPv6 by its first 64 bits, since one subscriber has all
 * the addresses behind them to choose from (RFC 6177).
 */
export function addressOf(text: string): string {
  const [address = ""] = text.trim().toLowerCase().split("/");
  if (!address.includes(":")) return address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(address);
  if (mapped) return mapped[1]!;
  const [head = "", tail] = address.split("::");
  const groups = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const missing = tail === undefined ? 0 : Math.max(0, 8 - groups.length - after.length);
  const whole = [...groups, ...Array<string>(missing).fill("0"), ...after];
  const network = whole.slice(0, 4).map((group) => group.replace(/^0+(?=.)/, ""));
  return `${network.join(":")}::/64`;
}
