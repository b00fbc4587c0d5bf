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
};

export class Ledger {
  readonly #replica: string;
  readonly #limit: number;
  readonly #entries = new Map<string, LedgerEntry>();
  readonly #attempts = new Map<string, number>();

  constructor(replica: string, limit = 100_000) {
    this.#replica = replica;
    this.#limit = limit;
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
