import { CLOCK_SKEW_MAX_MS } from "../bounds.ts";
import type { Told } from "./continuation.ts";
import { fromBase64Url, mac, sameText, toBase64Url } from "./encoding.ts";

/**
 * What the edge orders from a gate: one request, on one replica, once. Signed with the pool's own secret, so a
 * stolen GPU node opens its own pool and no other. Carried in the header `x-meridian-token`.
 */
export interface OriginOrder {
  /** The pool's id; a gate refuses orders for any other pool. */
  readonly pool: string;
  /** Which of the pool's secrets signed this: rotation keeps the previous one valid for a while. */
  readonly secretVersion: number;
  readonly requestId: string;
  /** 0 for the first origin call of the request, then 1, 2 … */
  readonly attempt: number;
  /** The one route that this order is for, as the client's path: `/v1/chat/completions`. */
  readonly path: string;
  readonly replica: string;
  /** The name under which the engine serves the model; it replaces the body's `model`. */
  readonly servedModel: string;
  /** The gate refuses to start after this instant (epoch milliseconds, ≤ 60 s ahead). */
  readonly startByMs: number;
  /** Everything ends at this instant. */
  readonly deadlineMs: number;
  readonly firstTokenTimeoutMs: number;
  readonly tokenGapTimeoutMs: number;
  /** The age at which it counts as slow, without a first token or without an end; absent: no first token in 10 s. */
  readonly slow?: { readonly afterMs: number; readonly of: "first_token" | "total" };
  /** Keeps this tenant's prefixes apart in the engine's cache; nobody can time another tenant's prompts. */
  readonly cacheSalt: string;
  /** Output limit to force into the body, or null to leave the client's own. */
  readonly maxOutputTokens: number | null;
  /** Prompt tokens as estimated by the edge: what is charged where the engine never tells. */
  readonly estimatedPromptTokens: number;
  /** True where the edge carries a stream on that the gate cuts off; absent from an edge of a version before. */
  readonly resumable?: boolean;
  /** Its fingerprint, where it was present at an engine's death: the gate tells when it completes all the same. */
  readonly suspect?: string;
  /** Present where this call carries on a stream that broke off elsewhere. */
  readonly continues?: Continued;
  /** Opaque to the gate; it comes back with every usage report (usage-ticket.ts). */
  readonly ticket: string;
}

/** What the bill of a stream that is carried on needs to know of the attempt that broke off. */
export interface Continued {
  /** That attempt's ticket: where its gate had no last words, this one reports what the client got. */
  readonly ticket: string;
  readonly told: Told | null;
  /** `told` was said before the end and not as last words: its gate may be gone without a report. */
  readonly unreported?: true;
  /** What the attempts before that one have been charged; absent where it was the first. */
  readonly paid?: Told;
}

export const ORIGIN_TOKEN_HEADER = "x-meridian-token";

export type TokenRefusal = "malformed" | "forged" | "expired" | "not_yet";

export async function signOrder(order: OriginOrder, key: CryptoKey): Promise<string> {
  const payload = toBase64Url(new TextEncoder().encode(JSON.stringify(order)));
  return `${payload}.${toBase64Url(await mac(key, payload))}`;
}

/**
 * Verifies a token with whichever key `keyFor` gives for its secret version (null: no such version).
 * The caller still has to compare pool, path and replica with the call at hand.
 */
export async function verifyOrder(
  token: string,
  keyFor: (secretVersion: number) => CryptoKey | null,
  nowMs: number,
): Promise<{ ok: true; order: OriginOrder } | { ok: false; refusal: TokenRefusal }> {
  const [payload, signature, rest] = token.split(".");
  if (!payload || !signature || rest !== undefined) return { ok: false, refusal: "malformed" };
  let order: OriginOrder;
  try {
    order = JSON.parse(new TextDecoder().decode(fromBase64Url(payload))) as OriginOrder;
  } catch {
    return { ok: false, refusal: "malformed" };
  }
  if (typeof order !== "object" || order === null) return { ok: false, refusal: "malformed" };
  const key = typeof order.secretVersion === "number" ? keyFor(order.secretVersion) : null;
  if (key === null) return { ok: false, refusal: "forged" };
  if (!sameText(signature, toBase64Url(await mac(key, payload)))) return { ok: false, refusal: "forged" };
  if (nowMs > order.startByMs) return { ok: false, refusal: "expired" };
  if (order.startByMs > nowMs + 60_000 + CLOCK_SKEW_MAX_MS) return { ok: false, refusal: "not_yet" };
  return { ok: true, order };
}
