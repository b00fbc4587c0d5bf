import { z } from "zod";
import { DEATHS_PER_REPORT_MAX, QUARANTINE_PRESENT_MAX, REPORT_ENTRIES_MAX } from "../bounds.ts";
import { fromBase64Url, macBytes, sameText, toBase64Url } from "./encoding.ts";

/** One gate's batch to the edge: usage so far of each request, and how each replica is. `POST /gate/v1/report` */

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** How an attempt ended. Only `complete` and `stopped` are answers; the rest tell the breaker what went wrong. */
export const outcomeSchema = z.enum([
  "complete",
  /** Ended by order of the budget (`finish_reason: "length"`). */
  "stopped",
  "client_gone",
  /** The client's own mistake, as the engine sees it (4xx). Never counts against a replica. */
  "refused",
  /** The engine is full (429, 503). */
  "overloaded",
  /** The engine failed: connection, 5xx, error frame, end without a finish reason, garbage. */
  "failed",
  "first_token_timeout",
  "token_gap_timeout",
  "deadline",
]);
export type Outcome = z.infer<typeof outcomeSchema>;

export const usageSchema = z.object({ promptTokens: count, cachedTokens: count, outputTokens: count });
/** Tokens of one attempt so far. `cachedTokens` are part of `promptTokens`. */
export type Usage = z.infer<typeof usageSchema>;

/** Cumulative and idempotent: sending it twice, late or out of order settles the same. */
export const usageReportSchema = z.object({
  ticket: z.string().min(1).max(2_048),
  usage: usageSchema,
  final: z.boolean(),
  /** Present when final. */
  outcome: outcomeSchema.optional(),
  /** True where the engine never told the usage and the estimate is charged instead. */
  estimated: z.boolean().optional(),
  /** True where the attempt is over and its stream is carried on by another: the request itself is not over. */
  carriedOn: z.boolean().optional(),
  tokensPerSecond: z.number().min(0).max(1e6).optional(),
  /** When final: from the call of the engine to its first token, where that was seen. */
  firstTokenMs: count.optional(),
  /**
   * True while nobody got any of it (one JSON that is still being made): it is held and not yet settled, since the
   * answer may still come from another replica, and a client pays for the one that it gets.
   */
  unsent: z.boolean().optional(),
});
export type UsageReport = z.infer<typeof usageReportSchema>;

export const replicaReportSchema = z.object({
  id: z.string().min(1).max(128),
  /** Names that the engine serves on `/v1/models`. */
  models: z.array(z.string().max(256)).max(64),
  state: z.enum(["healthy", "draining", "down"]),
  /** Requests that this gate has open there now. */
  inFlight: count,
  running: count,
  waiting: count,
  /** 0 … 1 */
  kvCacheUsage: z.number().min(0).max(1),
  /** Null where no exporter tells. 0 … 1 */
  gpuMemoryUsage: z.number().min(0).max(1).nullable(),
  /** Tokens that fit into its KV memory, where the engine tells. */
  cacheTokens: count.optional(),
  /** Tokens of prefixes that further tiers (host memory) keep for it. */
  hostCacheTokens: count.optional(),
  /** Changes when the replica's process is another one than before. */
  bootId: z.string().max(64),
});
export type ReplicaReport = z.infer<typeof replicaReportSchema>;

/** What ended at one replica since the last batch; the breaker's food. */
export const tallySchema = z.object({
  replica: z.string().max(128),
  model: z.string().max(256),
  ok: count,
  failed: count,
  slow: count,
  overloaded: count,
  /** Tokens through this replica since the last batch: prompt (not cached) and output. */
  tokens: count,
  /** Requests by bucket of their time to first token (gate/tallies.ts); absent from a gate of a version before. */
  waits: z
    .array(z.tuple([z.number().int().min(0).max(255), count]))
    .max(256)
    .optional(),
});
export type Tally = z.infer<typeof tallySchema>;

/** An engine that died, and the requests that it had. A digest is a hash without a key: the edge adds that. */
export const engineDeathSchema = z.object({
  /** The same in every delivery. */
  id: z.string().min(1).max(128),
  replica: z.string().max(128),
  atMs: count,
  present: z
    .array(z.object({ digest: z.string().length(43), begun: z.boolean() }))
    .max(QUARANTINE_PRESENT_MAX),
});
export type EngineDeath = z.infer<typeof engineDeathSchema>;

export const gateReportSchema = z.object({
  version: z.literal(1),
  pool: z.string().min(1).max(64),
  gate: z.string().min(1).max(64),
  /** Grows with every batch of one gate process; a batch that is sent again keeps its number. */
  sequence: count,
  sentAtMs: count,
  draining: z.boolean(),
  usage: z.array(usageReportSchema).max(REPORT_ENTRIES_MAX),
  replicas: z.array(replicaReportSchema).max(512),
  tallies: z.array(tallySchema).max(4_096),
  deaths: z.array(engineDeathSchema).max(DEATHS_PER_REPORT_MAX).optional(),
  /** Fingerprints that orders named as suspects, and that have completed. */
  cleared: z.array(z.string().length(22)).max(DEATHS_PER_REPORT_MAX).optional(),
});
export type GateReport = z.infer<typeof gateReportSchema>;

export const gateReplySchema = z.object({
  /** Requests whose budget is used up under policy `stop`: end them with `finish_reason: "length"`. */
  stop: z.array(z.string()),
  /** Indexes into `usage` that could not be settled now (object out of reach): send them again. */
  again: z.array(count),
  /** Present while the pool is drained: how long its streams may run before they are handed over. */
  drainMs: count.optional(),
});
export type GateReply = z.infer<typeof gateReplySchema>;

export const GATE_SIGNATURE_HEADER = "x-meridian-gate";

/** `<pool>.<secretVersion>.<signature of the body>` */
export async function signReport(
  body: Uint8Array<ArrayBuffer>,
  pool: string,
  secretVersion: number,
  key: CryptoKey,
): Promise<string> {
  return `${pool}.${secretVersion}.${toBase64Url(await macBytes(key, body))}`;
}

/** The pool and version that a signature header claims, before it is checked; null when malformed. */
export function claimedSigner(
  header: string,
): { pool: string; secretVersion: number; signature: string } | null {
  const match = /^([a-z0-9][a-z0-9-]{0,62})\.(\d{1,6})\.([A-Za-z0-9_-]{43})$/.exec(header);
  if (!match) return null;
  return { pool: match[1]!, secretVersion: Number(match[2]), signature: match[3]! };
}

export async function verifyReport(
  body: Uint8Array<ArrayBuffer>,
  signature: string,
  key: CryptoKey,
): Promise<boolean> {
  return (
    sameText(signature, toBase64Url(await macBytes(key, body))) && fromBase64Url(signature).length === 32
  );
}

/** A gate's secret is derived, so the edge stores none of them and rotation is a new version number. */
export function poolSecretText(pool: string, secretVersion: number): string {
  return `meridian pool secret\n${pool}\n${secretVersion}`;
}
