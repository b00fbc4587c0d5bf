import type { ReplicaReport } from "../../contract/report.ts";

const CUT = 0.9;
/** One cut covers all signs of one overload: heartbeats come once a second. */
const CUT_GAP_MS = 1_000;
/** An engine that lets more than this many wait has been sent more than it can run (llm-d saturates there). */
const WAITING_MAX = 5;
const KV_FULL = 0.95;
/** The limit grows by this share of the ceiling a second while it is used: back from half in 25 s. */
const GROWTH_PER_SECOND = 0.02;
const USED_SHARE = 0.8;

/**
 * How many requests one replica gets at once. It starts at the configured ceiling, which is a hard cap at the gate. A
 * sign of overload cuts it by a tenth, at most once a second and never below one: an answer of overload, or two
 * heartbeats in a row with more than five waiting in the engine, or with waiting ones and a full KV memory. Without
 * signs it grows back while most of it is used, so it settles where the engine just keeps up.
 */
export class Concurrency {
  #share = 1;
  #cutAtMs = Number.NEGATIVE_INFINITY;
  #grownAtMs: number | null = null;
  #strained = false;

  /** Requests that may be out there; the ceiling is the configured concurrency. */
  limit(ceiling: number): number {
    return Math.max(1, Math.floor(ceiling * this.#share + 1e-9));
  }

  overloaded(ceiling: number, nowMs: number): void {
    if (nowMs - this.#cutAtMs < CUT_GAP_MS) return;
    this.#cutAtMs = nowMs;
    this.#grownAtMs = nowMs;
    this.#share = Math.max(1 / Math.max(1, ceiling), this.#share * CUT);
  }

  heard(report: ReplicaReport, out: number, ceiling: number, nowMs: number): void {
    const full = report.waiting > 0 && report.kvCacheUsage > KV_FULL;
    const strained = report.waiting > WAITING_MAX || full;
    if (strained && this.#strained) this.overloaded(ceiling, nowMs);
    this.#strained = strained;
    const sinceMs = nowMs - (this.#grownAtMs ?? nowMs);
    this.#grownAtMs = nowMs;
    if (strained || out < USED_SHARE * this.limit(ceiling)) return;
    this.#share = Math.min(1, this.#share + (GROWTH_PER_SECOND * Math.max(0, sinceMs)) / 1_000);
  }
}
