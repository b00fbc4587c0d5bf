import { QUARANTINE_HELD_MAX, QUARANTINE_WATCHED_MAX } from "../../bounds.ts";
import type { Quarantine } from "../../catalogue.ts";
import type { Death, Verdict } from "../../routing/messages.ts";
import { cleared, died, isHeld, NOBODY, type QuarantineState, released } from "../../routing/quarantine.ts";
import type { Audit } from "./audit.ts";
import { nextNumber } from "./documents.ts";
import { type By, type Done, missing, ok, type Page, type PageAsk, type Result } from "./messages.ts";

/** One fingerprint, as the admin API shows it. */
export interface QuarantineEntry {
  readonly fingerprint: string;
  readonly state: "held" | "suspect";
  /** Deaths that it was present at of late. */
  readonly deaths: number;
  readonly lastDeathAtMs: number | null;
  readonly offences: number;
  readonly heldUntilMs: number | null;
}

/**
 * Who is held because engines died with it. One row: a death is rare, and its list is bounded. It travels with the
 * catalogue, so it is in force wherever a changed model or pool would be.
 */
export class Quarantined {
  readonly #sql: SqlStorage;
  readonly #audit: Audit;

  constructor(sql: SqlStorage, audit: Audit) {
    this.#sql = sql;
    this.#audit = audit;
  }

  died(deaths: readonly Death[], completed: readonly string[], nowMs: number): Verdict {
    const before = this.#state();
    const judged = died(cleared(before, completed), deaths, nowMs);
    this.#save(judged.state);
    const by: By = { actor: "quarantine", requestId: deaths[0]?.id ?? "" };
    const held = judged.held.map((fingerprint) => {
      const { heldUntilMs: untilMs, offences } = judged.state.suspects[fingerprint]!;
      this.#audit.add(by, nowMs, "quarantine.hold", target(fingerprint), null, { untilMs, offences });
      return { fingerprint, untilMs, offences };
    });
    for (const fingerprint of judged.retracted) {
      this.#audit.add(by, nowMs, "quarantine.retract", target(fingerprint), null, null);
    }
    return { held, retracted: judged.retracted };
  }

  /** What every location needs; undefined where there is nothing. */
  snapshot(nowMs: number): Quarantine | undefined {
    const entries = entriesOf(this.#state(), nowMs);
    if (entries.length === 0) return undefined;
    const held = entries.flatMap(({ fingerprint, heldUntilMs }) =>
      heldUntilMs === null ? [] : [{ fingerprint, untilMs: heldUntilMs }],
    );
    const suspects = entries.filter(({ state, deaths }) => state === "suspect" && deaths > 0);
    const newest = suspects.sort((one, other) => (other.lastDeathAtMs ?? 0) - (one.lastDeathAtMs ?? 0));
    return {
      held: held.slice(0, QUARANTINE_HELD_MAX),
      suspects: newest.slice(0, QUARANTINE_WATCHED_MAX).map(({ fingerprint }) => fingerprint),
    };
  }

  /** In the order of fingerprints. */
  page({ cursor, limit }: PageAsk, nowMs: number): Page<QuarantineEntry> {
    const all = entriesOf(this.#state(), nowMs).sort((one, other) =>
      one.fingerprint < other.fingerprint ? -1 : 1,
    );
    const rest = all.filter(({ fingerprint }) => cursor === null || fingerprint > cursor);
    const data = rest.slice(0, limit);
    return { data, nextCursor: rest.length > limit ? data.at(-1)!.fingerprint : null };
  }

  release(by: By, nowMs: number, fingerprint: string): Result<Done<null>> {
    const state = this.#state();
    const entry = entriesOf(state, nowMs).find((one) => one.fingerprint === fingerprint);
    if (entry === undefined) return missing(`fingerprint '${fingerprint.slice(0, 64)}' in quarantine`);
    this.#save(released(state, fingerprint));
    this.#audit.add(by, nowMs, "quarantine.release", target(fingerprint), entry, null);
    return ok({ value: null, push: null });
  }

  #state(): QuarantineState {
    const [row] = this.#sql.exec<{ state: string }>("SELECT state FROM quarantine").toArray();
    return row ? (JSON.parse(row.state) as QuarantineState) : NOBODY;
  }

  #save(state: QuarantineState): void {
    this.#sql.exec("INSERT OR REPLACE INTO quarantine (id, state) VALUES (1, ?)", JSON.stringify(state));
    nextNumber(this.#sql, "catalogue");
  }
}

function entriesOf({ suspects }: QuarantineState, nowMs: number): QuarantineEntry[] {
  return Object.entries(suspects).map(([fingerprint, suspect]) => {
    const { seen, offences, heldUntilMs } = suspect;
    const held = isHeld(suspect, nowMs);
    return {
      ...{ fingerprint, state: held ? "held" : "suspect", deaths: seen.length, offences },
      lastDeathAtMs: seen.length === 0 ? null : Math.max(...seen.map(({ atMs }) => atMs)),
      heldUntilMs: held ? heldUntilMs : null,
    };
  });
}

function target(fingerprint: string): string {
  return `quarantine/${fingerprint}`;
}
