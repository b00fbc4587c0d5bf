import type { ErrorShape } from "../errors.ts";
import type { Level, Standing } from "../limits/messages.ts";

/**
 * Where a tenant stands, in the words of three audiences: `x-ratelimit-*` for OpenAI's clients, `anthropic-ratelimit-*`
 * for Anthropic's, and `RateLimit`/`RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers-10 for everybody else.
 */
export function standingHeaders(
  standing: Standing | null,
  shape: ErrorShape,
  nowMs: number,
): Record<string, string> {
  const headers: Record<string, string> = {};
  if (standing === null) return headers;
  const policies: string[] = [];
  const states: string[] = [];
  for (const { name, unit, windowS, what, level } of quotas(standing)) {
    policies.push(`"${name}";q=${level.limit}${unit === null ? "" : `;qu="${unit}"`};w=${windowS}`);
    states.push(`"${name}";r=${level.remaining};t=${Math.ceil(level.resetMs / 1_000)}`);
    if (what === null) continue;
    const prefix = shape === "anthropic" ? `anthropic-ratelimit-${what}-` : "x-ratelimit-";
    const put = (field: string, value: string) => {
      headers[shape === "anthropic" ? `${prefix}${field}` : `${prefix}${field}-${what}`] = value;
    };
    put("limit", String(level.limit));
    put("remaining", String(level.remaining));
    put("reset", shape === "anthropic" ? instant(nowMs + level.resetMs) : duration(level.resetMs));
  }
  if (policies.length > 0) {
    headers["ratelimit-policy"] = policies.join(", ");
    headers.ratelimit = states.join(", ");
  }
  return headers;
}

interface Quota {
  readonly name: string;
  /** Null: requests, the unit of the draft itself. */
  readonly unit: string | null;
  readonly windowS: number;
  /** Its name in the older headers, or null when they have none. */
  readonly what: "tokens" | "requests" | null;
  readonly level: Level;
}

function quotas({ tokens, requests, day }: Standing): Quota[] {
  const list: Quota[] = [];
  if (tokens) list.push({ name: "tpm", unit: "tokens", windowS: 60, what: "tokens", level: tokens });
  if (requests) list.push({ name: "rpm", unit: null, windowS: 60, what: "requests", level: requests });
  if (day) list.push({ name: "tpd", unit: "tokens", windowS: 86_400, what: null, level: day });
  return list;
}

/** RFC 3339 in whole seconds, rounded up: never early. */
function instant(atMs: number): string {
  return new Date(Math.ceil(atMs / 1_000) * 1_000).toISOString().replace(".000Z", "Z");
}

/** `6m0s`, `1.5s`, `20ms`: the durations of OpenAI's headers. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.ceil(ms)}ms`;
  const minutes = Math.floor(ms / 60_000);
  const seconds = Math.ceil((ms - minutes * 60_000) / 100) / 10;
  return minutes > 0 ? `${minutes}m${seconds}s` : `${seconds}s`;
}
