import { CACHE_ISOLATE_MAX_BYTES, CACHE_READ_TIMEOUT_MS } from "../bounds.ts";
import { withDeadline } from "../deadline.ts";
import type { Saved } from "../limits/messages.ts";
import { keptAnswers } from "../upstash/answers.ts";
import type { Exchange } from "./exchange.ts";

/**
 * Where kept answers are: in the isolate, in the location's cache, in Redis for all locations. Each tier may be absent
 * or fail, and then there is one less; none of them is needed for anything but speed and money.
 */

/** An answer as it is kept: its bytes and their type, and none of its other headers. */
export interface Entry {
  /** Whose it is. The key says so too; this is the second lock. */
  readonly tenantRef: string;
  readonly contentType: string;
  readonly text: string;
  /** The revision that gave it. */
  readonly served: string;
  readonly storedAtMs: number;
  readonly freshUntilMs: number;
  readonly staleUntilMs: number;
  /** What an engine would have to compute for it. */
  readonly saved: Saved;
}

type Place = Pick<Exchange, "env" | "ctx">;

/** The entry under a key, or null. Asks the nearest tier first and tells it what a further one knew. */
export async function findEntry(key: string, place: Place): Promise<Entry | null> {
  const nowMs = Date.now();
  const near = isolate.get(key);
  if (near) return near.staleUntilMs > nowMs ? near : null;
  const here = parsed(await fromColo(key), nowMs);
  if (here !== null) return remembered(key, here);
  const far = parsed((await keptAnswers(place.env)?.find(key, nowMs, place.ctx)) ?? null, nowMs);
  if (far === null) return null;
  place.ctx.waitUntil(toColo(key, far, nowMs));
  return remembered(key, far);
}

/** Never rejects. */
export async function keepEntry(key: string, entry: Entry, place: Place): Promise<void> {
  const nowMs = Date.now();
  remembered(key, entry);
  const redis = keptAnswers(place.env);
  await Promise.all([
    toColo(key, entry, nowMs),
    redis?.keep(key, JSON.stringify(entry), entry.staleUntilMs - nowMs, nowMs),
  ]);
}

/** Anything may stand in a shared store: what is no entry is none. */
function parsed(text: string | null, nowMs: number): Entry | null {
  if (text === null) return null;
  try {
    const entry = JSON.parse(text) as Entry;
    const whole = typeof entry.text === "string" && typeof entry.contentType === "string";
    return whole && entry.staleUntilMs > nowMs ? entry : null;
  } catch {
    return null;
  }
}

// --- The isolate: plain data, the least recently used goes first
const isolate = new Map<string, Entry>();
let isolateBytes = 0;

function remembered(key: string, entry: Entry): Entry {
  forget(key);
  isolate.set(key, entry);
  isolateBytes += sizeOf(entry);
  for (const oldest of isolate.keys()) {
    if (isolateBytes <= CACHE_ISOLATE_MAX_BYTES) break;
    forget(oldest);
  }
  return entry;
}

function forget(key: string): void {
  const known = isolate.get(key);
  if (!known) return;
  isolate.delete(key);
  isolateBytes -= sizeOf(known);
}

/** Two bytes a character, as an engine may hold it. */
function sizeOf({ text }: Entry): number {
  return 2 * text.length + 512;
}

// --- The location's cache. Plain workerd has none unless one is configured: the first failure turns it off.
let coloWorks = true;

/** A made-up address: nothing is ever fetched from it. */
function addressOf(key: string): string {
  return `https://answers.meridian.invalid/${key}`;
}

async function fromColo(key: string): Promise<string | null> {
  if (!coloWorks) return null;
  try {
    const found = await withDeadline(caches.default.match(addressOf(key)), CACHE_READ_TIMEOUT_MS);
    return found === undefined ? null : await found.text();
  } catch {
    coloWorks = false;
    return null;
  }
}

async function toColo(key: string, entry: Entry, nowMs: number): Promise<void> {
  if (!coloWorks) return;
  const maxAgeS = Math.floor((entry.staleUntilMs - nowMs) / 1_000);
  const headers = { "cache-control": `max-age=${maxAgeS}`, "content-type": "application/json" };
  try {
    await caches.default.put(addressOf(key), new Response(JSON.stringify(entry), { headers }));
  } catch {
    coloWorks = false;
  }
}
