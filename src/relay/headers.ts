import type { Level, Standing } from "../limits/messages.ts";

/** `x-ratelimit-*` as OpenAI's clients know them. */
export function standingHeaders(standing: Standing | null): Record<string, string> {
  const headers: Record<string, string> = {};
  if (standing?.tokens) put(headers, "tokens", standing.tokens);
  if (standing?.requests) put(headers, "requests", standing.requests);
  return headers;
}

function put(headers: Record<string, string>, what: string, level: Level): void {
  headers[`x-ratelimit-limit-${what}`] = String(level.limit);
  headers[`x-ratelimit-remaining-${what}`] = String(level.remaining);
  headers[`x-ratelimit-reset-${what}`] = duration(level.resetMs);
}

/** `6m0s`, `1.5s`, `20ms`: the durations of OpenAI's headers. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.ceil(ms)}ms`;
  const minutes = Math.floor(ms / 60_000);
  const seconds = Math.ceil((ms - minutes * 60_000) / 100) / 10;
  return minutes > 0 ? `${minutes}m${seconds}s` : `${seconds}s`;
}
