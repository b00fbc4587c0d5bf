import { mac, macKey, sameText, sha256, toBase64Url } from "./contract/encoding.ts";
import { poolSecretText } from "./contract/report.ts";
import type { Env } from "./env.ts";
import { FailureError } from "./errors.ts";
import type { MacKeys } from "./keys.ts";

/** The Worker's secrets as imported keys: made once per isolate, since an import costs more than a signature. */
export interface Secrets {
  readonly macKeys: MacKeys;
  /** The version that signs new keys. */
  readonly newestMacVersion: string;
  readonly ticketKey: CryptoKey;
  /** HMAC key of a pool's secret. */
  poolKey(pool: string, secretVersion: number): Promise<CryptoKey>;
  /** The pool's secret as its gates are given it. */
  poolSecret(pool: string, secretVersion: number): Promise<string>;
  isAdmin(bearer: string): Promise<boolean>;
  /** Who an admin key belongs to: its name, or where it has none the first characters of its hash. Null: no such key. */
  adminOf(bearer: string): Promise<string | null>;
}

let cached: Promise<Secrets> | null = null;
let cachedFor: Env | null = null;

/** Throws a `misconfigured` failure that names the missing secret, never its value. */
export function secretsOf(env: Env): Promise<Secrets> {
  if (cached === null || cachedFor !== env) {
    cachedFor = env;
    cached = load(env);
    cached.catch(() => {
      cached = null;
    });
  }
  return cached;
}

/** A secret cannot be read back, so a rotation adds one beside the others: KEY_MAC_SECRETS_2, KEY_MAC_SECRETS_3 … */
const MAC_SECRETS = /^KEY_MAC_SECRETS(_[0-9A-Za-z])?$/;

async function load(env: Env): Promise<Secrets> {
  const required = ["KEY_MAC_SECRETS", "POOL_MASTER_SECRET", "TICKET_SECRET", "ADMIN_KEY_HASHES"] as const;
  for (const name of required) {
    if (!env[name])
      throw misconfigured(`the secret ${name} is missing: set it with 'wrangler secret put ${name}'`);
  }
  const macKeys = new Map<string, CryptoKey>();
  for (const [name, text] of Object.entries(env)) {
    if (!MAC_SECRETS.test(name)) continue;
    for (const [version, secret] of Object.entries(parseVersions(String(text)))) {
      macKeys.set(version, await macKey(secret));
    }
  }
  const newestMacVersion = [...macKeys.keys()].sort().at(-1)!;
  const master = await macKey(env.POOL_MASTER_SECRET);
  const poolKeys = new Map<string, CryptoKey>();
  const poolSecret = async (pool: string, version: number) =>
    toBase64Url(await mac(master, poolSecretText(pool, version)));
  const admins = adminsIn(env.ADMIN_KEY_HASHES);
  const adminOf = async (bearer: string) => {
    const hash = toBase64Url(await sha256(bearer));
    // All are compared, so that the time tells nothing about which ones there are.
    return admins.filter((known) => sameText(known.hash, hash))[0]?.name ?? null;
  };
  return {
    macKeys,
    newestMacVersion,
    ticketKey: await macKey(env.TICKET_SECRET),
    poolSecret,
    async poolKey(pool, version) {
      const name = `${pool}/${version}`;
      let key = poolKeys.get(name);
      if (!key) {
        key = await macKey(await poolSecret(pool, version));
        if (poolKeys.size > 4_096) poolKeys.clear();
        poolKeys.set(name, key);
      }
      return key;
    },
    adminOf,
    isAdmin: async (bearer) => (await adminOf(bearer)) !== null,
  };
}

/**
 * `<hash>` or `<name>:<hash>`, separated by spaces. Names tell people apart where one must approve what another proposed;
 * a person whose key is being rotated has two hashes under one name.
 */
function adminsIn(text: string): { readonly name: string; readonly hash: string }[] {
  return text
    .split(/\s+/)
    .filter((entry) => entry.length > 0)
    .map((entry) => {
      const colon = entry.indexOf(":");
      const hash = entry.slice(colon + 1);
      return {
        name: colon > 0 ? entry.slice(0, Math.min(colon, ADMIN_NAME_MAX_CHARS)) : hash.slice(0, 8),
        hash,
      };
    });
}

const ADMIN_NAME_MAX_CHARS = 64;

function parseVersions(text: string): Record<string, string> {
  try {
    const versions = JSON.parse(text) as Record<string, string>;
    const entries = Object.entries(versions);
    const wellFormed = ([version, secret]: [string, unknown]) =>
      /^[0-9A-Za-z]$/.test(version) && typeof secret === "string" && secret.length >= 16;
    if (entries.length > 0 && entries.every(wellFormed)) return versions;
  } catch {
    // Told below, without the text: it holds secrets.
  }
  throw misconfigured('KEY_MAC_SECRETS must be JSON such as {"1":"<at least 16 characters>"}');
}

function misconfigured(internalDetail: string): FailureError {
  return new FailureError({ tag: "misconfigured", internalDetail });
}
