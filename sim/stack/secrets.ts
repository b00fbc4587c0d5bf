import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { mac, macKey, sha256, toBase64Url } from "../../src/contract/encoding.ts";
import { poolSecretText } from "../../src/contract/report.ts";

const secretsSchema = z.strictObject({
  keyMac: z.string().min(16),
  poolMaster: z.string().min(16),
  ticket: z.string().min(16),
  adminKey: z.string().min(16),
});
/** Secrets of one local deployment; made once, kept beside its storage, readable by its owner alone. */
export type StackSecrets = z.infer<typeof secretsSchema>;

/** Throws one clear line when the file is there and unusable: new secrets would orphan the stored keys. */
export function loadSecrets(stateDir: string): StackSecrets {
  const file = join(stateDir, "secrets.json");
  if (!existsSync(file)) {
    const made: StackSecrets = {
      keyMac: randomBytes(32).toString("base64url"),
      poolMaster: randomBytes(32).toString("base64url"),
      ticket: randomBytes(32).toString("base64url"),
      adminKey: `mra_${randomBytes(24).toString("base64url")}`,
    };
    writeFileSync(file, `${JSON.stringify(made, null, 2)}\n`, { mode: 0o600 });
    return made;
  }
  let parsed: unknown = null;
  try {
    parsed = JSON.parse(readFileSync(file, "utf8"));
  } catch {
    // Told below, with what to do.
  }
  const checked = secretsSchema.safeParse(parsed);
  if (checked.success) return checked.data;
  const field = checked.error.issues[0]?.path.join(".") || "its JSON";
  throw new Error(
    `${file}: ${field} is missing or broken. Restore it, or delete the folder ${stateDir} to start afresh.`,
  );
}

/** The Worker's secrets as its environment. */
export async function workerEnv(secrets: StackSecrets): Promise<Record<string, string>> {
  return {
    KEY_MAC_SECRETS: JSON.stringify({ 1: secrets.keyMac }),
    POOL_MASTER_SECRET: secrets.poolMaster,
    TICKET_SECRET: secrets.ticket,
    ADMIN_KEY_HASHES: toBase64Url(await sha256(secrets.adminKey)),
  };
}

/** What a gate of this pool is given. */
export async function gateSecret(secrets: StackSecrets, pool: string, version: number): Promise<string> {
  return toBase64Url(await mac(await macKey(secrets.poolMaster), poolSecretText(pool, version)));
}
