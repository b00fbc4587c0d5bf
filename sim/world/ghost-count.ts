import type { Reservation } from "../../src/limits/reservation.ts";
import { check } from "./violation.ts";

interface Rows {
  readonly touched: ReadonlySet<string>;
  readonly counted: readonly string[];
  reservation(id: string): Reservation | undefined;
}

/** I7: a request counts in the usage table when it is settled, once; one that never ran does not. */
export class CountGhost {
  /** How often each request was counted, by its object and name. */
  readonly #times = new Map<string, number>();

  /** One step of an object, before it is committed. */
  step(at: number, rows: Rows): void {
    for (const id of rows.touched) {
      const name = `${at} ${id}`;
      const times = (this.#times.get(name) ?? 0) + rows.counted.filter((one) => one === id).length;
      this.#times.set(name, times);
      const { state } = rows.reservation(id)!;
      const due = state === "settled" ? 1 : 0;
      check(times === due, "I7", () => `${id} is ${state} and counted ${times} times`);
    }
  }
}
