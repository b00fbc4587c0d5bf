import { Redis } from "@upstash/redis/cloudflare";
import { REDIS_CALL_TIMEOUT_MS } from "../bounds.ts";

/** What of the Worker's bindings concerns Redis. All of it may be absent. */
export interface RedisSettings {
  readonly UPSTASH_REDIS_REST_URL?: string;
  readonly UPSTASH_REDIS_REST_TOKEN?: string;
  /** Requests per 10 s from one client address with one key. */
  readonly FLOOD_REQUESTS_PER_10S?: string;
}

/** Where work goes that outlives the answer: an `ExecutionContext`. */
export interface Background {
  waitUntil(promise: Promise<unknown>): void;
}

let cached: Redis | null = null;
let cachedFor: RedisSettings | null = null;

/** The isolate's one client, or null where Redis is not set up: then the log says so, once. */
export function redisOf(settings: RedisSettings): Redis | null {
  if (cachedFor !== settings) {
    cachedFor = settings;
    cached = open(settings);
  }
  return cached;
}

function open(settings: RedisSettings): Redis | null {
  const { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token } = settings;
  if (!url && !token) return without("UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN are not set");
  if (!url) return without("UPSTASH_REDIS_REST_URL is not set");
  if (!token) return without("UPSTASH_REDIS_REST_TOKEN is not set");
  try {
    return connect(url, token);
  } catch {
    return without("UPSTASH_REDIS_REST_URL is not a URL");
  }
}

/**
 * A client that sends each command once and gives it up after `REDIS_CALL_TIMEOUT_MS`. Why each option is as it is:
 * docs/upstash.md. Throws on a malformed URL.
 */
export function connect(url: string, token: string): Redis {
  return new Redis({
    url,
    token,
    // Not `retry: false`: the client's loop runs up to and including its count, so that sends a failed command twice.
    retry: { retries: 0 },
    // A function: with a plain signal an aborted command resolves with the reason as if Redis had answered it.
    signal: () => AbortSignal.timeout(REDIS_CALL_TIMEOUT_MS),
    // Joins commands of several requests into one fetch; a Worker may not wait for another request's I/O.
    enableAutoPipelining: false,
    // Turns texts that look like JSON into something else: an id such as 1234567890 into a number.
    automaticDeserialization: false,
    readYourWrites: false,
    enableTelemetry: false,
  });
}

function without(why: string): null {
  const off = ["flood guard", "deny list", "kill switch", "usage mirror", "shared kept answers"];
  console.warn(JSON.stringify({ event: "redis_off", detail: why, off }));
  return null;
}
