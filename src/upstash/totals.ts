import type { Redis } from "@upstash/redis/cloudflare";
import {
  DAY_MS,
  MIRROR_BACKLOG_MAX,
  MIRROR_BATCH_MAX,
  MIRROR_DAYS_KEPT,
  MIRROR_DRIFT_ALARM_SHARE,
  MIRROR_DRIFT_ALARM_TOKENS,
  MIRROR_DRIFT_DAYS,
  MIRROR_SEEN_KEPT_MS,
} from "../bounds.ts";
import type { Usage } from "../contract/report.ts";
import type { UsageRow } from "../limits/messages.ts";
import { count } from "../telemetry/metrics.ts";
import { SkipBreaker } from "./breaker.ts";

/** Usage so far of one attempt, as its budget settled it. */
export interface MirrorEntry {
  readonly tenantRef: string;
  readonly requestId: string;
  readonly attempt: number;
  readonly usage: Usage;
  /** UTC, `YYYY-MM-DD`. */
  readonly day: string;
}

/** The mirror against the budget, over the days of `days`. */
export interface Drift {
  readonly days: readonly string[];
  /** Prompt and output tokens that the budget settled. */
  readonly billedTokens: number;
  readonly mirroredTokens: number;
  /** `billedTokens − mirroredTokens`: above 0 the mirror has missed some, below 0 the budget has. */
  readonly driftTokens: number;
}

/**
 * A copy of every tenant's usage per day. Never the bill: it may lose entries, and says so by its drift. It cannot
 * count one twice, because an attempt's usage is cumulative and Redis adds only what is above what it has seen.
 */
export class MirrorTotals {
  readonly #redis: Pick<Redis, "eval">;
  readonly #breaker = new SkipBreaker();
  /** Not in Redis yet. Plain data of the isolate: what dies with it is missing in the mirror, not in the bill. */
  #backlog: MirrorEntry[] = [];

  constructor(redis: Pick<Redis, "eval">) {
    this.#redis = redis;
  }

  get waiting(): number {
    return this.#backlog.length;
  }

  /** Takes entries and writes what waits, unless Redis failed a moment ago. Never rejects. */
  async add(entries: readonly MirrorEntry[], nowMs: number): Promise<void> {
    this.#wait(entries);
    if (this.#breaker.next(nowMs) === "skip") return;
    const batches = Math.ceil(this.#backlog.length / MIRROR_BATCH_MAX);
    for (let left = batches; left > 0 && this.#backlog.length > 0; left--) {
      const batch = this.#backlog.splice(0, MIRROR_BATCH_MAX);
      try {
        const refused = await this.#redis.eval<number[], number>(
          ADD_SCRIPT,
          keysOf(batch),
          argumentsOf(batch),
        );
        this.#breaker.answered();
        count("meridian_mirror_entries_total", { outcome: "mirrored" }, batch.length - refused);
        count("meridian_mirror_entries_total", { outcome: "refused" }, refused);
      } catch {
        this.#wait(batch);
        this.#breaker.failed(nowMs);
        count("meridian_redis_failures_total", { use: "mirror" });
        return;
      }
    }
  }

  /** Prompt and output tokens of a tenant in the mirror, over these days. Rejects when Redis fails. */
  async tokens(tenantRef: string, days: readonly string[]): Promise<number> {
    // A script, since the client's HGETALL is typed as a record and, unparsed, answers a flat list.
    const keys = days.map((day) => totalsKey(tenantRef, day));
    return this.#redis.eval<never[], number>(TOKENS_SCRIPT, keys, []);
  }

  #wait(entries: readonly MirrorEntry[]): void {
    this.#backlog.push(...entries);
    const over = this.#backlog.length - MIRROR_BACKLOG_MAX;
    if (over <= 0) return;
    this.#backlog.splice(0, over);
    count("meridian_mirror_entries_total", { outcome: "dropped" }, over);
  }
}

/** Today and the days before it: both sides must have counted all of them. */
export function driftDays(nowMs: number): string[] {
  return Array.from({ length: MIRROR_DRIFT_DAYS }, (_, back) => dayOf(nowMs - back * DAY_MS));
}

export function driftOver(
  days: readonly string[],
  billed: readonly UsageRow[],
  mirroredTokens: number,
): Drift {
  const billedTokens = billed
    .filter((row) => days.includes(row.day))
    .reduce((sum, row) => sum + row.promptTokens + row.outputTokens, 0);
  return { days, billedTokens, mirroredTokens, driftTokens: billedTokens - mirroredTokens };
}

/** True when it is more than what is on its way at any moment. */
export function isAlarming({ billedTokens, driftTokens }: Drift): boolean {
  const off = Math.abs(driftTokens);
  return off > MIRROR_DRIFT_ALARM_TOKENS && off > billedTokens * MIRROR_DRIFT_ALARM_SHARE;
}

/** UTC, as budgets name their days. */
export function dayOf(atMs: number): string {
  return new Date(atMs).toISOString().slice(0, 10);
}

/**
 * For each attempt: the difference between its usage and what was seen of it goes to the day's total. Per field the
 * larger counts, as in the budget (src/limits/reservation.ts), so repeated, late and reordered entries add nothing.
 * Answers how many entries met a key of another type: those are passed over, or they would keep out all others.
 */
const ADD_SCRIPT = `
local names = {"promptTokens", "cachedTokens", "outputTokens"}
local function isHash(key)
  local kind = redis.call("TYPE", key).ok
  return kind == "hash" or kind == "none"
end
local refused = 0
for entry = 1, #KEYS / 2 do
  local seenKey, totalsKey = KEYS[2 * entry - 1], KEYS[2 * entry]
  if isHash(seenKey) and isHash(totalsKey) then
    local seen = redis.call("HMGET", seenKey, unpack(names))
    for field = 1, 3 do
      local used = tonumber(ARGV[2 + 3 * (entry - 1) + field])
      local more = used - tonumber(seen[field] or "0")
      if more > 0 then
        redis.call("HINCRBY", totalsKey, names[field], more)
        redis.call("HSET", seenKey, names[field], used)
      end
    end
    redis.call("PEXPIRE", seenKey, ARGV[1])
    redis.call("PEXPIRE", totalsKey, ARGV[2])
  else
    refused = refused + 1
  end
end
return refused
`;

const TOKENS_SCRIPT = `
local tokens = 0
for _, key in ipairs(KEYS) do
  for _, count in ipairs(redis.call("HMGET", key, "promptTokens", "outputTokens")) do
    tokens = tokens + tonumber(count or "0")
  end
end
return tokens
`;

function keysOf(batch: readonly MirrorEntry[]): string[] {
  return batch.flatMap(({ tenantRef, requestId, attempt, day }) => [
    `meridian:mirror:seen:${requestId}:${attempt}`,
    totalsKey(tenantRef, day),
  ]);
}

function argumentsOf(batch: readonly MirrorEntry[]): number[] {
  const counts = batch.flatMap(({ usage }) => [usage.promptTokens, usage.cachedTokens, usage.outputTokens]);
  return [MIRROR_SEEN_KEPT_MS, MIRROR_DAYS_KEPT * DAY_MS, ...counts];
}

function totalsKey(tenantRef: string, day: string): string {
  return `meridian:mirror:used:${tenantRef}:${day}`;
}
