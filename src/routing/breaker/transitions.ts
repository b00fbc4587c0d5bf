import type { BreakersView, BreakerTransition } from "../messages.ts";
import { BREAKER_TRANSITIONS_KEPT, BREAKER_TRANSITIONS_SHOWN } from "./bounds.ts";

export interface SavedTransitions {
  readonly latest: readonly BreakerTransition[];
  readonly counted: BreakersView["counted"];
}

/** What changed and why: the latest changes themselves, and how many there were of each kind since the pool began. */
export class Transitions {
  #latest: readonly BreakerTransition[];
  #counted: BreakersView["counted"];

  constructor(saved: SavedTransitions | null) {
    this.#latest = saved?.latest ?? [];
    this.#counted = saved?.counted ?? [];
  }

  record(transition: BreakerTransition): void {
    this.#latest = [...this.#latest, transition].slice(-BREAKER_TRANSITIONS_KEPT);
    const { from, to, cause } = transition;
    const isSame = (kind: BreakersView["counted"][number]) =>
      kind.from === from && kind.to === to && kind.cause === cause;
    const times = (this.#counted.find(isSame)?.times ?? 0) + 1;
    this.#counted = [...this.#counted.filter((kind) => !isSame(kind)), { from, to, cause, times }];
  }

  get latest(): readonly BreakerTransition[] {
    return this.#latest.slice(-BREAKER_TRANSITIONS_SHOWN);
  }

  get counted(): BreakersView["counted"] {
    return this.#counted;
  }

  save(): SavedTransitions {
    return { latest: this.#latest, counted: this.#counted };
  }
}
