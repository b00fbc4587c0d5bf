import { CACHE_COLLECT_MAX_BYTES } from "../bounds.ts";
import type { CachePolicy, Model } from "../catalogue.ts";
import { mac, toBase64Url } from "../contract/encoding.ts";
import { canonical, eventsIn, isWhole, toldUsage, whyNotCacheable } from "../engine/cacheable.ts";
import type { JsonObject } from "../engine/endpoint.ts";
import type { Saved } from "../limits/messages.ts";
import { count } from "../telemetry/metrics.ts";
import { type Entry, findEntry, keepEntry } from "./cache-tiers.ts";
import type { Exchange } from "./exchange.ts";
import { knownProfile } from "./tenant-memory.ts";

/**
 * The response cache (docs/degradation.md): the same request of the same tenant gets the answer that it got before.
 * Opt-in three times: by the model's operator, by the tenant, and by the request, which must be one whose answer follows
 * from it alone or say that any answer will do.
 */
export type Looked =
  /** `x-meridian-cache: none`: nothing is read or kept for this request. */
  | { readonly state: "none" }
  | { readonly state: "miss"; readonly keeping: Keeping }
  | { readonly state: "hit" | "stale"; readonly keeping: Keeping; readonly entry: Entry };

/** Where an answer to the request would be kept, and on which terms. */
export interface Keeping {
  readonly key: string;
  readonly policy: CachePolicy;
  /** The revision that the key is made with: no other's answer may stand under it. */
  readonly served: string;
}

const NONE: Looked = { state: "none" };

/** What is kept for this request. A cache that is out of reach is an empty one. */
export async function lookUp(exchange: Exchange, model: Model, served: Model): Promise<Looked> {
  const { cache: policy } = model;
  if (policy === undefined) return NONE;
  const { request, claims, endpoint } = exchange;
  // Where this isolate does not know the tenant yet, its budget says below whether it agreed (keptAnswer).
  if (knownProfile(claims.keyId)?.responseCache === false) return NONE;
  const directives = (request.headers.get("cache-control") ?? "").toLowerCase();
  if (directives.includes("no-store")) return NONE;
  const body = JSON.parse(new TextDecoder().decode(exchange.bytes)) as JsonObject;
  const sampled = policy.sampled || request.headers.get("x-meridian-cache") === "allow";
  if (whyNotCacheable(endpoint.id, body, sampled) !== null) return NONE;
  const keeping = { key: await keyOf(exchange, policy, served, body), policy, served: served.id };
  const entry = directives.includes("no-cache") ? null : await findEntry(keeping.key, exchange);
  if (entry === null || entry.tenantRef !== claims.tenantRef) {
    count("meridian_cache_total", { model: model.id, result: "miss" });
    return { state: "miss", keeping };
  }
  return { state: entry.freshUntilMs > Date.now() ? "hit" : "stale", keeping, entry };
}

/**
 * A keyed hash, so that whoever reads a shared store learns no prompt, over all that the answer follows from: the tenant's
 * salt, what engines are asked, and under which terms it is kept. So a change of a model's `cache` forgets its answers.
 */
async function keyOf(
  { claims, endpoint, secrets }: Exchange,
  policy: CachePolicy,
  served: Model,
  body: JsonObject,
): Promise<string> {
  const names = [claims.cacheSalt, endpoint.id, served.id, served.servedName ?? served.id];
  const text = ["response cache", ...names, canonical(policy), canonical(body)].join("\n");
  return toBase64Url(await mac(secrets.ticketKey, text));
}

/**
 * Collects an answer while its client gets it, and keeps it if it turns out whole. Costs a wake-up per read, so only for
 * requests that are to be kept; all others are piped natively as ever.
 */
export function collect(exchange: Exchange, looked: Looked, served: Model, response: Response): Response {
  if (looked.state === "none" || looked.state === "hit" || looked.keeping.served !== served.id)
    return response;
  if (response.status !== 200 || response.body === null) return response;
  const [shown, branch] = response.body.tee();
  exchange.ctx.waitUntil(keepWhole(exchange, looked.keeping, response, branch));
  return new Response(shown, response);
}

let collectingBytes = 0;

async function keepWhole(
  exchange: Exchange,
  { key, policy, served }: Keeping,
  response: Response,
  branch: ReadableStream<Uint8Array>,
): Promise<void> {
  const text = await textOf(branch, policy.maxBytes);
  if (text === null) return;
  const contentType = response.headers.get("content-type") ?? "application/json";
  const isStream = contentType.startsWith("text/event-stream");
  if (!isWhole(exchange.endpoint.id, isStream, text)) return;
  const nowMs = Date.now();
  const freshUntilMs = nowMs + policy.ttlSeconds * 1_000;
  const entry: Entry = {
    ...{ tenantRef: exchange.claims.tenantRef, contentType, text, served, storedAtMs: nowMs, freshUntilMs },
    staleUntilMs: freshUntilMs + policy.staleIfErrorSeconds * 1_000,
    saved: savedBy(exchange, isStream, text),
  };
  await keepEntry(key, entry, exchange);
  count("meridian_cache_total", { model: exchange.call.model, result: "kept" });
}

/** The whole text, or null: too long, cut off, or no UTF-8. */
async function textOf(branch: ReadableStream<Uint8Array>, maxBytes: number): Promise<string | null> {
  const reader = branch.getReader();
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let text = "";
  let bytes = 0;
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return text + decoder.decode();
      bytes += value.length;
      collectingBytes += value.length;
      if (bytes > maxBytes || collectingBytes > CACHE_COLLECT_MAX_BYTES) {
        await reader.cancel();
        return null;
      }
      text += decoder.decode(value, { stream: true });
    }
  } catch {
    return null;
  } finally {
    collectingBytes -= bytes;
  }
}

/** What the answer says that it took; where a stream was not asked to say it, the edge's estimate and its events. */
function savedBy({ trace, call }: Exchange, isStream: boolean, text: string): Saved {
  const told = toldUsage(isStream, text);
  if (told !== null) return { promptTokens: told.prompt, outputTokens: told.output };
  return { promptTokens: trace.estimatedPromptTokens, outputTokens: call.generates ? eventsIn(text) : 0 };
}
