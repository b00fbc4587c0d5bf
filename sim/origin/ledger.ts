/**
 * What this replica really received and emitted, request by request: the truth that bills are compared with.
 *
 * A token counts as emitted when its frame was written to the socket before the client was seen leaving. An
 * answer that is not streamed is one write, so it counts wholly or not at all.
 */
export type LedgerState = "waiting" | "running" | "finished" | "aborted" | "failed" | "rejected";

export type LedgerEntry = {
  endpoint: string;
  model: string | null;
  promptTokens: number;
  cachedTokens: number;
  /** Emitted, see above. */
  outputTokens: number;
  /** Computed by the engine, emitted or not. */
  generatedTokens: number;
  state: LedgerState;
  aborted: boolean;
  stream: boolean;
  /** Of the first choice; null while there is none. */
  finishReason: string | null;
  status: number;
  tenantSalt: boolean;
  /** Only where the replica keeps times: when it took and emitted tokens, as [epoch ms, tokens], joined per 100 ms. */
  times?: [atMs: number, tokens: number][];
  /** With the times: the request's cache salt, which is one per tenant, so that tenants can be told apart. */
  salt?: string;
};

/** Finer than any window that a budget is checked in, and coarse enough to keep. */
const TIMES_STEP_MS = 100;

/** Notes tokens at this instant, prompt and output alike. A JSON's output is all at its end, as it leaves. */
export function noteTokens(entry: LedgerEntry, tokens: number, salt = entry.salt): void {
  const { times } = entry;
  if (times === undefined || tokens === 0) return;
  if (salt !== undefined) entry.salt = salt;
  const atMs = Math.floor(Date.now() / TIMES_STEP_MS) * TIMES_STEP_MS;
  const last = times.at(-1);
  if (last?.[0] === atMs) last[1] += tokens;
  else times.push([atMs, tokens]);
}

export class Ledger {
  readonly #replica: string;
  readonly #limit: number;
  readonly #entries = new Map<string, LedgerEntry>();
  readonly #attempts = new Map<string, number>();
  readonly #keepsTimes: boolean;

  constructor(replica: string, limit = 100_000, keepsTimes = false) {
    this.#replica = replica;
    this.#limit = limit;
    this.#keepsTimes = keepsTimes;
  }

  /** Opens an entry. A second request with the same id is kept as `<id>#2`, a third as `<id>#3`. */
  open(requestId: string, endpoint: string): LedgerEntry {
    const attempt = (this.#attempts.get(requestId) ?? 0) + 1;
    this.#attempts.set(requestId, attempt);
    const entry: LedgerEntry = {
      endpoint,
      model: null,
      promptTokens: 0,
      cachedTokens: 0,
      outputTokens: 0,
      generatedTokens: 0,
      state: "waiting",
      aborted: false,
      stream: false,
      finishReason: null,
      status: 0,
      tenantSalt: false,
      ...(this.#keepsTimes ? { times: [] } : {}),
    };
    this.#entries.set(attempt === 1 ? requestId : `${requestId}#${attempt}`, entry);
    if (this.#entries.size > this.#limit) this.#forgetOldest();
    return entry;
  }

  reset(): void {
    this.#entries.clear();
    this.#attempts.clear();
  }

  get(key: string): LedgerEntry | undefined {
    return this.#entries.get(key);
  }

  toJSON(): object {
    const totals = { promptTokens: 0, outputTokens: 0, cachedTokens: 0, requests: 0 };
    for (const entry of this.#entries.values()) {
      totals.promptTokens += entry.promptTokens;
      totals.outputTokens += entry.outputTokens;
      totals.cachedTokens += entry.cachedTokens;
      totals.requests++;
    }
    return { replica: this.#replica, requests: Object.fromEntries(this.#entries), totals };
  }

  #forgetOldest(): void {
    const [key] = this.#entries.keys();
    this.#entries.delete(key!);
    // Keeping the count of a forgotten id would leak; a later repeat of it then starts at 1 again.
    this.#attempts.delete(key!.replace(/#\d+$/, ""));
  }
}
