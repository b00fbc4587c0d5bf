import { createHash, randomBytes } from "node:crypto";
import { DeployError } from "./wrangler.ts";

/** Secrets that the Worker cannot start without. wrangler.toml declares the same. */
export const SECRET_NAMES = [
  "KEY_MAC_SECRETS",
  "POOL_MASTER_SECRET",
  "TICKET_SECRET",
  "ADMIN_KEY_HASHES",
] as const;
type SecretName = (typeof SECRET_NAMES)[number];

/** Versions of the key MAC, one base62 digit each, in the order in which the Worker compares them. */
const VERSIONS = "123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ADMIN_KEY_MIN_CHARS = 24;

export interface MadeSecrets {
  /** For `wrangler secret bulk`. */
  readonly values: Readonly<Record<string, string>>;
  /** The admin key behind a new hash, when this run made it: to be shown once. */
  readonly adminKey: string | null;
}

/** Which required secrets the Worker lacks; `known` is null when there is no Worker. */
export function missingSecrets(known: readonly string[] | null): SecretName[] {
  return SECRET_NAMES.filter((name) => !known?.includes(name));
}

/**
 * Makes values for the named secrets. An admin key that the operator brings is used instead of a new one, for
 * deployments from a pipeline whose log would keep what is shown.
 */
export function makeSecrets(names: readonly SecretName[], broughtAdminKey: string | null): MadeSecrets {
  const values: Record<string, string> = {};
  let adminKey: string | null = null;
  for (const name of names) {
    if (name === "KEY_MAC_SECRETS") values[name] = JSON.stringify({ [VERSIONS[0]!]: randomSecret() });
    else if (name !== "ADMIN_KEY_HASHES") values[name] = randomSecret();
    else {
      adminKey = broughtAdminKey === null ? newAdminKey() : null;
      values[name] = hashOf(adminKey ?? checkedAdminKey(broughtAdminKey!));
    }
  }
  return { values, adminKey };
}

/**
 * One more version of the key MAC. A secret cannot be read back, so it gets a name of its own beside the others
 * (KEY_MAC_SECRETS_2, _3 …) and the versions before it stay as they are: keys that they signed keep working.
 */
export function nextKeyMac(known: readonly string[]): { name: string; value: string } {
  const versions = known.flatMap((name) => /^KEY_MAC_SECRETS_([0-9A-Za-z])$/.exec(name)?.[1] ?? []);
  const newest = Math.max(0, ...versions.map((version) => VERSIONS.indexOf(version)));
  const next = VERSIONS[newest + 1];
  if (next === undefined) throw new DeployError("every version of the key MAC is taken: delete the oldest");
  return { name: `KEY_MAC_SECRETS_${next}`, value: JSON.stringify({ [next]: randomSecret() }) };
}

export function newAdminKey(): string {
  return `mra_${randomBytes(24).toString("base64url")}`;
}

export function checkedAdminKey(key: string): string {
  if (key.length >= ADMIN_KEY_MIN_CHARS && /^\S+$/.test(key)) return key;
  throw new DeployError(
    `MERIDIAN_ADMIN_KEY must be ${ADMIN_KEY_MIN_CHARS} or more characters without spaces`,
  );
}

/** What the Worker is given of an admin key. */
export function hashOf(adminKey: string): string {
  return createHash("sha256").update(adminKey).digest("base64url");
}

function randomSecret(): string {
  return randomBytes(32).toString("base64url");
}
