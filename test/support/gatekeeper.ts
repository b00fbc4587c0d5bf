import { gateSecret, loadSecrets, type StackSecrets } from "../../sim/stack/secrets.ts";
import { macKey, randomBase62 } from "../../src/contract/encoding.ts";
import { ORIGIN_TOKEN_HEADER, type OriginOrder, signOrder } from "../../src/contract/origin-token.ts";
import { GATE_SIGNATURE_HEADER, signReport, type UsageReport } from "../../src/contract/report.ts";
import { signTicket, type UsageTicket } from "../../src/contract/usage-ticket.ts";
import { type KeyClaims, readKey } from "../../src/keys.ts";
import type { TestStack } from "./stack.ts";

/** Somebody who has all secrets of a stack, and so can make whatever edge and gates say to each other. */
export interface Gatekeeper {
  claims(key: string): Promise<KeyClaims>;
  poolKey(pool: string, version?: number): Promise<CryptoKey>;
  ticketKey(): Promise<CryptoKey>;
  /** A ticket for a key's tenant, as the edge would issue it. */
  ticket(key: string, change?: Partial<UsageTicket>, by?: CryptoKey): Promise<string>;
  /** A token as the edge would sign it. */
  token(key: string, change?: Partial<OriginOrder>, by?: CryptoKey): Promise<string>;
}

export const POOL = "us-east";
export const REPLICA = "us-east-0";
export const CHAT = "/v1/chat/completions";

export function gatekeeper(stack: TestStack): Gatekeeper {
  const secrets: StackSecrets = loadSecrets(stack.stateDir);
  const poolKey = async (pool: string, version = 1) => macKey(await gateSecret(secrets, pool, version));
  const ticketKey = () => macKey(secrets.ticket);
  async function claims(key: string): Promise<KeyClaims> {
    const read = await readKey(key, new Map([["1", await macKey(secrets.keyMac)]]));
    if (read === null) throw new Error("not a key of this stack");
    return read;
  }
  const ticket: Gatekeeper["ticket"] = async (key, change = {}, by) => {
    const { tenantRef, homeHint, keyId } = await claims(key);
    const issued: UsageTicket = {
      ...{ tenantRef, homeHint, at: homeHint, keyId, generation: 0, pool: POOL },
      ...{
        requestId: `req_${randomBase62(22)}`,
        attempt: 0,
        model: "sim-chat",
        basis: null,
        block: null,
        issuedAtMs: Date.now(),
      },
      ...change,
    };
    return signTicket(issued, by ?? (await ticketKey()));
  };
  const token: Gatekeeper["token"] = async (key, change = {}, by) => {
    const requestId = change.requestId ?? `req_${randomBase62(22)}`;
    const order: OriginOrder = {
      ...{ pool: POOL, secretVersion: 1, requestId, attempt: 0, path: CHAT, replica: REPLICA },
      ...{ servedModel: "sim-chat", cacheSalt: "salt", maxOutputTokens: null, estimatedPromptTokens: 5 },
      ...{ startByMs: Date.now() + 60_000, deadlineMs: Date.now() + 120_000 },
      ...{ firstTokenTimeoutMs: 10_000, tokenGapTimeoutMs: 10_000 },
      ticket: await ticket(key, { requestId }),
      ...change,
    };
    return signOrder(order, by ?? (await poolKey(POOL)));
  };
  return { claims, poolKey, ticketKey, ticket, token };
}

/** Calls a gate as the edge does. */
export function callGate(
  stack: TestStack,
  token: string | null,
  path = CHAT,
  region = POOL,
): Promise<Response> {
  const gate = stack.info.regions.find(({ name }) => name === region)!.gateUrl;
  const body = { model: "sim-chat", messages: [{ role: "user", content: "Hello [len=3]" }] };
  return fetch(`${gate}${path}`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(token === null ? {} : { [ORIGIN_TOKEN_HEADER]: token }),
    },
    body: JSON.stringify(body),
  });
}

/** A batch as a gate sends it. */
export function batch(usage: readonly UsageReport[], change: object = {}): Uint8Array<ArrayBuffer> {
  const report = {
    ...{ version: 1, pool: POOL, gate: "test", sequence: 1, sentAtMs: Date.now(), draining: false },
    ...{ usage, replicas: [], tallies: [] },
    ...change,
  };
  return new TextEncoder().encode(JSON.stringify(report));
}

/** Sends a batch with a gate's signature; `signature` overrides the header. */
export async function sendBatch(
  stack: TestStack,
  body: Uint8Array<ArrayBuffer>,
  by: CryptoKey,
  signature?: string,
): Promise<Response> {
  const signed = signature ?? (await signReport(body, POOL, 1, by));
  const headers = { "content-type": "application/json", [GATE_SIGNATURE_HEADER]: signed };
  return fetch(`${stack.info.baseUrl}/gate/v1/report`, { method: "POST", headers, body });
}
