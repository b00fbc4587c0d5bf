import { OBJECT_CALL_TIMEOUT_MS, OUTCOME_WINDOW_MS, ROLLOUT_LOOK_MS } from "../../bounds.ts";
import type { Hold, Model, Pool } from "../../catalogue.ts";
import { withDeadline } from "../../deadline.ts";
import type { Outcomes } from "../../routing/messages.ts";
import { sumOf } from "../../routing/outcomes.ts";
import { judge } from "../../routing/rollout.ts";
import type { Fleet } from "./fleet.ts";
import { type By, type Done, missing, ok, type Result } from "./messages.ts";

/** How requests of a model ended at one pool since then. Rejects when its object is out of reach. */
export type OutcomesAt = (pool: Pool, model: string, sinceMs: number) => Promise<Outcomes>;

/**
 * Watches revisions that take traffic, and holds those that are worse than their baseline. The registry does it because
 * a hold has to be stored, audited and told to every edge; it pulls, so pools need not know what a rollout is.
 */
export class Rollouts {
  readonly #fleet: Fleet;
  readonly #outcomesAt: OutcomesAt;
  #lookedAtMs = 0;

  constructor(fleet: Fleet, outcomesAt: OutcomesAt) {
    this.#fleet = fleet;
    this.#outcomesAt = outcomesAt;
  }

  /** When the next look is due; null while no revision takes traffic. */
  nextLookMs(): number | null {
    return this.#watched().length === 0 ? null : this.#lookedAtMs + ROLLOUT_LOOK_MS;
  }

  /** The revisions that are due to be held, and why. Asks every pool that serves both sides. */
  async look(nowMs: number): Promise<{ readonly id: string; readonly hold: Hold }[]> {
    this.#lookedAtMs = nowMs;
    const found = await Promise.all(this.#watched().map((revision) => this.#judged(revision, nowMs)));
    return found.flatMap((one) => one ?? []);
  }

  hold(by: By, nowMs: number, id: string, hold: Hold): void {
    const before = this.#fleet.models.get(id);
    // Meanwhile an operator may have changed it: then the judgement is about something else.
    if (!before?.revision || before.held !== undefined) return;
    this.#fleet.replaceModel(by, nowMs, "model.hold", before, { ...before, held: hold });
  }

  /** Takes all traffic from a revision, or from all of a model's. Once more does nothing. */
  rollBack(by: By, nowMs: number, id: string): Result<Done<Model[]>> {
    const model = this.#fleet.models.get(id);
    if (!model) return missing(`model '${id}'`);
    const all = model.revision ? [model] : this.#fleet.models.all().filter((one) => one.revision?.of === id);
    const held: Hold = { atMs: nowMs, why: "rolled_back", detail: "by an operator" };
    const rolledBack = all.map((before) => {
      if (before.held?.why === "rolled_back") return before;
      const revision = { ...before.revision!, weight: 0, shadow: 0 };
      const change = { ...before, revision, held };
      const result = this.#fleet.replaceModel(by, nowMs, "model.roll-back", before, change);
      return result.ok ? result.value.value : before;
    });
    return ok({ value: rolledBack, push: null });
  }

  #watched(): Model[] {
    const takesTraffic = ({ revision, held }: Model) =>
      revision !== undefined && held === undefined && revision.weight + revision.shadow > 0;
    return this.#fleet.models.all().filter(takesTraffic);
  }

  async #judged(model: Model, nowMs: number): Promise<{ id: string; hold: Hold } | null> {
    const revision = model.revision!;
    const serves = ({ models }: Pool, id: string) => models.some((entry) => entry.model === id);
    // Where only one side is served, the comparison would be one of places.
    const pools = this.#fleet.pools
      .all()
      .filter((pool) => serves(pool, model.id) && serves(pool, revision.of));
    const sinceMs = Math.max(nowMs - OUTCOME_WINDOW_MS, model.revisedAtMs ?? 0);
    const asked = await Promise.allSettled(
      pools.map((pool) =>
        withDeadline(
          Promise.all([
            this.#outcomesAt(pool, revision.of, sinceMs),
            this.#outcomesAt(pool, model.id, sinceMs),
          ]),
          OBJECT_CALL_TIMEOUT_MS,
        ),
      ),
    );
    const heard = asked.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    const [baseline, canary] = [sumOf(heard.map(([one]) => one)), sumOf(heard.map(([, other]) => other))];
    const verdict = judge(baseline, canary, revision);
    if (verdict.kind !== "worse") return null;
    return { id: model.id, hold: { atMs: nowMs, why: verdict.why, detail: verdict.detail } };
  }
}
