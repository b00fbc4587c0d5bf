import type { Redis } from "@upstash/redis/cloudflare";
import { CACHE_READ_TIMEOUT_MS } from "../bounds.ts";
import { withDeadline } from "../deadline.ts";
import { count } from "../telemetry/metrics.ts";
import { SkipBreaker } from "./breaker.ts";
import { type Background, type RedisSettings, redisOf } from "./client.ts";

let cached: KeptAnswers | null = null;
let cachedFor: RedisSettings | null = null;

/** The deployment's kept answers, or null where Redis is not set up. */
export function keptAnswers(settings: RedisSettings): KeptAnswers | null {
  if (cachedFor !== settings) {
    cachedFor = settings;
    const redis = redisOf(settings);
    cached = redis === null ? null : new KeptAnswers(redis);
  }
  return cached;
}

/**
 * The tier of the response cache that all locations share. It fails open: a Redis that is late or gone costs a request
 * `CACHE_READ_TIMEOUT_MS` once, and then nothing until it is back.
 */
export class KeptAnswers {
  readonly #redis: Pick<Redis, "get" | "set">;
  readonly #breaker = new SkipBreaker();

  constructor(redis: Pick<Redis, "get" | "set">) {
    this.#redis = redis;
  }

  /** What is kept under a key, or null. Never rejects. */
  async find(key: string, nowMs: number, background: Background): Promise<string | null> {
    const call = this.#breaker.next(nowMs);
    if (call === "probe") background.waitUntil(this.#read(key, nowMs));
    return call === "ask" ? this.#read(key, nowMs) : null;
  }

  /** Keeps a text for so long. Never rejects. */
  async keep(key: string, text: string, forMs: number, nowMs: number): Promise<void> {
    if (this.#breaker.next(nowMs) === "skip") return;
    try {
      await this.#redis.set(name(key), text, { px: Math.ceil(forMs) });
      this.#breaker.answered();
    } catch {
      this.#failed(nowMs);
    }
  }

  async #read(key: string, nowMs: number): Promise<string | null> {
    try {
      const text = await withDeadline(this.#redis.get<string>(name(key)), CACHE_READ_TIMEOUT_MS);
      this.#breaker.answered();
      return text;
    } catch {
      this.#failed(nowMs);
      return null;
    }
  }

  #failed(nowMs: number): void {
    this.#breaker.failed(nowMs);
    count("meridian_redis_failures_total", { use: "cache" });
  }
}

function name(key: string): string {
  return `meridian:answer:${key}`;
}
