import type { IncomingMessage } from "node:http";
import { ORIGIN_TOKEN_HEADER, type OriginOrder, verifyOrder } from "../contract/origin-token.ts";
import { REPLAY_MAX, REPLAY_WINDOW_MS } from "./bounds.ts";
import type { Clock } from "./clock.ts";

export type Admission =
  | { readonly ok: true; readonly order: OriginOrder }
  /** Not an order of this deployment, or not for this call. The reason is for the metrics, not for the caller. */
  | { readonly ok: false; readonly status: 401 | 403 | 503; readonly reason: string };

/** Orders that were carried out. Two generations, so that forgetting costs nothing per order. */
export class ReplayGuard {
  #current = new Set<string>();
  #previous = new Set<string>();
  #turnedAtMs = 0;

  /** True when the order is new, and remembers it. Null when there is no room to remember it. */
  claim(order: OriginOrder, nowMs: number): boolean | null {
    if (nowMs - this.#turnedAtMs >= REPLAY_WINDOW_MS) {
      const stale = nowMs - this.#turnedAtMs >= 2 * REPLAY_WINDOW_MS;
      this.#previous = stale ? new Set() : this.#current;
      this.#current = new Set();
      this.#turnedAtMs = nowMs;
    }
    const id = `${order.requestId}/${order.attempt}`;
    if (this.#current.has(id) || this.#previous.has(id)) return false;
    if (this.#current.size >= REPLAY_MAX) return null;
    this.#current.add(id);
    return true;
  }
}

export interface AdmissionParts {
  readonly pool: string;
  readonly keys: ReadonlyMap<number, CryptoKey>;
  readonly replays: ReplayGuard;
  readonly clock: Clock;
}

/** Whether this call was ordered by the edge: here, now, for this path, and for the first time. */
export async function admit(parts: AdmissionParts, req: IncomingMessage, path: string): Promise<Admission> {
  const token = req.headers[ORIGIN_TOKEN_HEADER];
  if (typeof token !== "string") return { ok: false, status: 401, reason: "no_token" };
  const keyFor = (version: number) => parts.keys.get(version) ?? null;
  const verified = await verifyOrder(token, keyFor, parts.clock.epochMs());
  if (!verified.ok) return { ok: false, status: 401, reason: verified.refusal };
  const { order } = verified;
  if (!wellFormed(order)) return { ok: false, status: 401, reason: "malformed" };
  if (order.pool !== parts.pool) return { ok: false, status: 403, reason: "wrong_pool" };
  if (order.path !== path) return { ok: false, status: 403, reason: "wrong_path" };
  const isNew = parts.replays.claim(order, parts.clock.monotonicMs());
  if (isNew === null) return { ok: false, status: 503, reason: "replay_guard_full" };
  return isNew ? { ok: true, order } : { ok: false, status: 401, reason: "replayed" };
}

/** The signature vouches for the content; this guards against an edge of another version. */
function wellFormed(order: OriginOrder): boolean {
  const texts = [order.pool, order.requestId, order.path, order.replica, order.servedModel, order.cacheSalt];
  const numbers = [order.startByMs, order.deadlineMs];
  const spans = [order.firstTokenTimeoutMs, order.tokenGapTimeoutMs];
  const count = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
  return (
    texts.every((text) => typeof text === "string") &&
    // Bounds of the reports (contract/report.ts): one entry beyond them would make the edge refuse a whole batch.
    order.replica.length <= 128 &&
    order.servedModel.length <= 256 &&
    // It becomes a header of the call to the engine.
    /^[\x21-\x7e]{1,256}$/.test(order.requestId) &&
    numbers.every(Number.isFinite) &&
    spans.every((span) => Number.isFinite(span) && span > 0) &&
    continuesWell(order) &&
    (order.suspect === undefined || /^[\w-]{22}$/.test(order.suspect)) &&
    count(order.attempt) &&
    count(order.estimatedPromptTokens) &&
    (order.maxOutputTokens === null || count(order.maxOutputTokens)) &&
    typeof order.ticket === "string" &&
    order.ticket.length > 0 &&
    order.ticket.length <= 2_048
  );
}

function continuesWell({ continues }: OriginOrder): boolean {
  if (continues === undefined) return true;
  const { ticket, told, paid = null } = continues;
  const counts = [told, paid].flatMap((one) => (one === null ? [] : [one.promptTokens, one.outputTokens]));
  return (
    typeof ticket === "string" &&
    ticket.length <= 2_048 &&
    counts.every((count) => Number.isSafeInteger(count) && count >= 0)
  );
}
