import { TICKET_VALID_MS } from "../bounds.ts";
import { fromBase64Url, mac, sameText, toBase64Url } from "./encoding.ts";
import type { PromptBasis, TextClass } from "./prompt-basis.ts";

/**
 * Names the reservation that a usage report settles. Signed with a secret that gates do not have: a stolen gate
 * can report on the requests it was given and on no others. It carries all that a report needs to find its way,
 * so the edge keeps no state between an order and its reports.
 */
export interface UsageTicket {
  readonly tenantRef: string;
  readonly homeHint: string;
  readonly generation: number;
  /** Where the object that holds the reservation lives. */
  readonly at: string;
  readonly requestId: string;
  readonly attempt: number;
  readonly keyId: string;
  readonly pool: string;
  readonly model: string;
  readonly issuedAtMs: number;
  /** Null where nothing can be learned from the count: on tickets of a version before. */
  readonly basis: PromptBasis | null;
  /**
   * Where an isolate admitted the request out of a block: what to take from that block at the first word of it, in
   * weighted tokens. Null: the object itself admitted it.
   */
  readonly block: { readonly id: string; readonly tokens: number } | null;
}

/** In the order of a copy that nobody is charged for (shadow traffic): it opens no budget. */
export const SHADOW_TICKET = "shadow";

type Packed = [
  ...[string, string, number, string, string, number, string, string, string, number],
  basis?: [TextClass, number, number, boolean] | null,
  block?: [string, number],
];

export async function signTicket(ticket: UsageTicket, key: CryptoKey): Promise<string> {
  const packed: Packed = [
    ticket.tenantRef,
    ticket.homeHint,
    ticket.generation,
    ticket.at,
    ticket.requestId,
    ticket.attempt,
    ticket.keyId,
    ticket.pool,
    ticket.model,
    ticket.issuedAtMs,
  ];
  if (ticket.basis !== null) {
    const { textClass, textTokens, fixedTokens, templated } = ticket.basis;
    packed.push([textClass, textTokens, fixedTokens, templated]);
  }
  if (ticket.block !== null) {
    packed[10] ??= null;
    packed[11] = [ticket.block.id, ticket.block.tokens];
  }
  const payload = toBase64Url(new TextEncoder().encode(JSON.stringify(packed)));
  return `${payload}.${await signature(payload, key)}`;
}

/** The ticket, or null when it is malformed, forged or older than `TICKET_VALID_MS`. */
export async function openTicket(text: string, key: CryptoKey, nowMs: number): Promise<UsageTicket | null> {
  const [payload, given, rest] = text.split(".");
  if (!payload || !given || rest !== undefined) return null;
  if (!sameText(given, await signature(payload, key))) return null;
  const packed = JSON.parse(new TextDecoder().decode(fromBase64Url(payload))) as Packed;
  const [tenantRef, homeHint, generation, at, requestId, attempt, keyId, pool, model, issuedAtMs] = packed;
  if (nowMs - issuedAtMs > TICKET_VALID_MS) return null;
  const basis = basisOf(packed[10]);
  const block = packed[11] === undefined ? null : { id: packed[11][0], tokens: packed[11][1] };
  const named = { tenantRef, homeHint, generation, at, requestId, attempt, keyId, pool, model };
  return { ...named, issuedAtMs, basis, block };
}

function basisOf(packed: Packed[10]): PromptBasis | null {
  if (packed === undefined || packed === null) return null;
  const [textClass, textTokens, fixedTokens, templated] = packed;
  return { textClass, textTokens, fixedTokens, templated };
}

/** 128 bits suffice against guessing, and tickets are many. */
async function signature(payload: string, key: CryptoKey): Promise<string> {
  return toBase64Url((await mac(key, payload)).subarray(0, 16));
}
