import { Ratelimit } from "@upstash/ratelimit";
import type { Redis } from "@upstash/redis/cloudflare";
import {
  DENIAL_CACHE_MAX,
  FLOOD_DENIAL_CACHE_MS,
  FLOOD_REQUESTS_DEFAULT,
  FLOOD_WINDOW_MS,
  REDIS_GUARD_TIMEOUT_MS,
} from "../bounds.ts";
import { withDeadline } from "../deadline.ts";
import { type Failure, FailureError } from "../errors.ts";
import type { KeyClaims } from "../keys.ts";
import { count } from "../telemetry/metrics.ts";
import { SkipBreaker } from "./breaker.ts";
import { type Background, type RedisSettings, redisOf } from "./client.ts";
import { type Asker, addressOf, type Denied, DenyLists } from "./lists.ts";

let cached: FloodGuard | null = null;
let cachedFor: RedisSettings | null = null;

/**
 * Turns away who is denied and who floods, before any object hears of them. Waits for Redis at most
 * `REDIS_GUARD_TIMEOUT_MS`, and fails open. Throws `tenant_suspended`, `revoked_key`, `address_denied` or `flooded`.
 */
export async function guardFlood(
  request: { readonly headers: Headers },
  claims: KeyClaims,
  settings: RedisSettings,
  background: Background,
): Promise<void> {
  if (cachedFor !== settings) {
    cachedFor = settings;
    const redis = redisOf(settings);
    cached = redis === null ? null : new FloodGuard(redis, requestsPerWindow(settings));
  }
  if (cached === null) return;
  const asker: Asker = {
    tenantRef: claims.tenantRef,
    keyId: claims.keyId,
    // Set by the platform, whatever a client sends; absent only where there is no Cloudflare in front.
    address: addressOf(request.headers.get("cf-connecting-ip") ?? "none"),
  };
  const failure = await cached.check(asker, Date.now(), background);
  if (failure !== null) throw new FailureError(failure);
}

/** Flood guard and deny lists of one isolate. */
export class FloodGuard {
  readonly #limiter: Ratelimit;
  readonly #lists: DenyLists;
  readonly #breaker = new SkipBreaker();
  /** Who was refused a moment ago → until when: a flood must not cost a call to Redis for each of its requests. */
  readonly #refused = new Map<string, { readonly untilMs: number; readonly resetMs: number }>();

  constructor(redis: Redis, requests: number) {
    this.#lists = new DenyLists(redis);
    this.#limiter = new Ratelimit({
      redis,
      prefix: "meridian:flood",
      // Of the library's algorithms the only one that, at rate 1, neither charges a refused request nor lets two
      // windows' worth through at their border.
      limiter: Ratelimit.slidingWindow(requests, `${FLOOD_WINDOW_MS} ms`),
      timeout: REDIS_GUARD_TIMEOUT_MS,
      // The library's own cache of refusals has no bound and lasts to the window's end.
      ephemeralCache: false,
      analytics: false,
      enableTelemetry: false,
    });
  }

  /** Why this request must not go on, or null. */
  async check(asker: Asker, nowMs: number, background: Background): Promise<Failure | null> {
    const call = this.#breaker.next(nowMs);
    const age = this.#lists.age(nowMs);
    if (call === "probe") background.waitUntil(this.#probe(nowMs));
    else if (call === "ask" && age === "aging") background.waitUntil(this.#read(nowMs));
    if (call !== "ask" || age !== "old") {
      const denied = this.#denial(asker, nowMs);
      if (denied !== null) return denied;
    }
    if (call !== "ask") {
      count("meridian_flood_total", { verdict: "unguarded" });
      return null;
    }
    const known = this.#refusal(asker, nowMs);
    if (known !== null) return known;
    // Side by side, so that together they take no longer than one.
    const [flooded] = await Promise.all([
      this.#limit(asker, nowMs, background),
      age === "old" ? this.#read(nowMs) : undefined,
    ]);
    return (age === "old" ? this.#denial(asker, nowMs) : null) ?? flooded;
  }

  async #limit(asker: Asker, nowMs: number, background: Background): Promise<Failure | null> {
    try {
      const { success, reset, reason, pending } = await this.#limiter.limit(floodId(asker));
      background.waitUntil(pending);
      if (reason === "timeout") throw new Error("timeout");
      if (success) {
        count("meridian_flood_total", { verdict: "passed" });
        return null;
      }
      if (this.#refused.size >= DENIAL_CACHE_MAX) this.#refused.clear();
      const untilMs = Math.min(reset, nowMs + FLOOD_DENIAL_CACHE_MS);
      this.#refused.set(floodId(asker), { untilMs, resetMs: reset });
      return flooded(reset, nowMs);
    } catch {
      // Its message would hold the command, and with it the client's address.
      this.#failed(nowMs);
      count("meridian_flood_total", { verdict: "unguarded" });
      return null;
    }
  }

  /** Reads the lists, in time or not at all. True when Redis answered. */
  async #read(nowMs: number): Promise<boolean> {
    try {
      await withDeadline(this.#lists.read(nowMs), REDIS_GUARD_TIMEOUT_MS);
      return true;
    } catch {
      this.#failed(nowMs);
      return false;
    }
  }

  async #probe(nowMs: number): Promise<void> {
    if (await this.#read(nowMs)) this.#breaker.answered();
  }

  #failed(nowMs: number): void {
    this.#breaker.failed(nowMs);
    count("meridian_redis_failures_total", { use: "guard" });
  }

  #denial(asker: Asker, nowMs: number): Failure | null {
    if (!this.#lists.usable(nowMs)) count("meridian_lists_ignored_total", {});
    const kind = this.#lists.denies(asker, nowMs);
    if (kind === null) return null;
    count("meridian_denied_total", { kind });
    return { tag: DENIED_AS[kind] };
  }

  #refusal(asker: Asker, nowMs: number): Failure | null {
    const refused = this.#refused.get(floodId(asker));
    if (refused === undefined) return null;
    if (nowMs < refused.untilMs) return flooded(refused.resetMs, nowMs);
    this.#refused.delete(floodId(asker));
    return null;
  }
}

const DENIED_AS = {
  tenant: "tenant_suspended",
  key: "revoked_key",
  address: "address_denied",
} as const satisfies Record<Denied, Failure["tag"]>;

function flooded(resetMs: number, nowMs: number): Failure {
  count("meridian_flood_total", { verdict: "refused" });
  return { tag: "flooded", retryAfterMs: Math.max(1, resetMs - nowMs) };
}

/**
 * Address and key together: one charge, so that a request that is refused is charged nowhere. Limits of a key or a
 * tenant as a whole are the budget's.
 */
function floodId({ address, keyId }: Asker): string {
  return `${address}/${keyId}`;
}

function requestsPerWindow({ FLOOD_REQUESTS_PER_10S: text }: RedisSettings): number {
  if (text === undefined || text === "") return FLOOD_REQUESTS_DEFAULT;
  const requests = Number(text);
  if (Number.isSafeInteger(requests) && requests >= 1) return requests;
  const detail = `FLOOD_REQUESTS_PER_10S is not a whole number above 0: ${FLOOD_REQUESTS_DEFAULT} is used`;
  console.warn(JSON.stringify({ event: "redis_setting", detail }));
  return FLOOD_REQUESTS_DEFAULT;
}
