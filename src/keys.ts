import { LOCATION_HINTS, type LocationHint } from "./catalogue.ts";
import { base62, isBase62, mac, randomBase62, sameText, sha256, toBase64Url } from "./contract/encoding.ts";

/**
 * API keys: `mrd_` and fixed-length base62 fields. The last field authenticates the others with a secret of the
 * Worker, so a forged key dies at the edge without any I/O; the budget object then compares the hash of the secret
 * field and the key's status.
 *
 *   mrd_ | tenant ref 11 | key id 10 | home hint 1 | secret 24 | MAC version 1 | MAC 16
 */
const PREFIX = "mrd_";
const LENGTHS = { tenantRef: 11, keyId: 10, hint: 1, secret: 24, macVersion: 1, mac: 16 } as const;
const HINT_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const KEY_LENGTH = PREFIX.length + Object.values(LENGTHS).reduce((sum, length) => sum + length, 0);

export interface KeyClaims {
  readonly tenantRef: string;
  readonly keyId: string;
  readonly homeHint: LocationHint;
  /** SHA-256 of the secret field, base64url. */
  readonly secretHash: string;
}

/** Worker secrets by version, one base62 digit each; the newest signs, every one listed verifies. */
export type MacKeys = ReadonlyMap<string, CryptoKey>;

/** The tenant's name inside keys and object names: 65 bits of its id's hash. */
export async function tenantRefOf(tenantId: string): Promise<string> {
  return base62(await sha256(`meridian tenant\n${tenantId}`), LENGTHS.tenantRef);
}

/** A new key. The text is shown once and stored nowhere. */
export async function mintKey(
  tenantRef: string,
  homeHint: LocationHint,
  macVersion: string,
  macKey: CryptoKey,
): Promise<{ text: string; claims: KeyClaims }> {
  const keyId = randomBase62(LENGTHS.keyId);
  const secret = randomBase62(LENGTHS.secret);
  const signed = `${tenantRef}${keyId}${HINT_DIGITS[LOCATION_HINTS.indexOf(homeHint)]}${secret}${macVersion}`;
  const text = `${PREFIX}${signed}${base62(await mac(macKey, signed), LENGTHS.mac)}`;
  return { text, claims: { tenantRef, keyId, homeHint, secretHash: await hashOf(secret) } };
}

/** What a key says, or null when it was not made by this deployment. No I/O. */
export async function readKey(text: string, macKeys: MacKeys): Promise<KeyClaims | null> {
  if (text.length !== KEY_LENGTH || !text.startsWith(PREFIX)) return null;
  const fields = text.slice(PREFIX.length);
  if (!isBase62(fields)) return null;
  const signed = fields.slice(0, -LENGTHS.mac);
  const macKey = macKeys.get(signed.slice(-LENGTHS.macVersion));
  if (!macKey) return null;
  const expected = base62(await mac(macKey, signed), LENGTHS.mac);
  if (!sameText(fields.slice(-LENGTHS.mac), expected)) return null;
  const tenantRef = signed.slice(0, LENGTHS.tenantRef);
  const keyId = signed.slice(LENGTHS.tenantRef, LENGTHS.tenantRef + LENGTHS.keyId);
  const hintAt = LENGTHS.tenantRef + LENGTHS.keyId;
  const homeHint = LOCATION_HINTS[HINT_DIGITS.indexOf(signed.charAt(hintAt))];
  if (!homeHint) return null;
  const secret = signed.slice(hintAt + 1, hintAt + 1 + LENGTHS.secret);
  return { tenantRef, keyId, homeHint, secretHash: await hashOf(secret) };
}

async function hashOf(secret: string): Promise<string> {
  return toBase64Url(await sha256(secret));
}
