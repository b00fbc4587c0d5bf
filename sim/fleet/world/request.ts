import type { Candidate } from "../../../src/routing/rank.ts";
import type { Call } from "../cast.ts";

/** One request on its way through an edge. */
export interface Request {
  readonly id: string;
  /** For choices that are made by hash. */
  readonly hash: number;
  readonly call: Call;
  readonly candidates: readonly Candidate[];
  readonly atMs: number;
  readonly startByMs: number;
  readonly tried: Map<
    string,
    { readonly replicas: readonly string[]; readonly out: boolean; readonly gone: boolean }
  >;
  attempts: number;
  resumes: number;
  deaths: number;
}

/** What its client saw. Milliseconds of virtual time. */
export interface Seen {
  readonly call: Call;
  readonly city: string;
  readonly atMs: number;
  readonly region: string | null;
  readonly attempts: number;
  /** Null: an error instead of the first byte. */
  readonly firstTokenMs: number | null;
  readonly endMs: number;
  /** When the stream broke off; null: it never did. */
  readonly brokeAtMs: number | null;
  /** And how long after that it went on. */
  readonly pausedMs: number | null;
  readonly end: "whole" | "cut" | "error";
  /** Why there was no first byte. */
  readonly error: string | null;
}
