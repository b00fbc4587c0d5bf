/**
 * Joins the writes of one turn of the event loop into one transaction. A commit of its own costs as much as the
 * call that causes it and blocks the object's thread; under load one commit serves tens of calls. Calls to one
 * object share its context, so resolving another call's promise is ordinary here (in a Worker it is not).
 */
export class Tick {
  readonly #transaction: (run: () => void) => void;
  readonly #failed: () => void;
  #waiting: Operation[] = [];

  /**
   * `transaction` runs its argument atomically and durably. `failed` is called when that throws: whatever is held
   * in memory may be ahead of what was stored and must be dropped.
   */
  constructor(transaction: (run: () => void) => void, failed: () => void) {
    this.#transaction = transaction;
    this.#failed = failed;
  }

  /** Runs `operation` in this turn's transaction. Resolves after it is stored; rejects when it threw. */
  run<Result>(operation: () => Result): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      this.#waiting.push({ operation, resolve: resolve as (result: unknown) => void, reject });
      if (this.#waiting.length === 1) setTimeout(() => this.#commit(), 0);
    });
  }

  #commit(): void {
    const operations = this.#waiting;
    this.#waiting = [];
    const answers: (() => void)[] = [];
    try {
      this.#transaction(() => {
        for (const { operation, resolve } of operations) {
          const result = operation();
          answers.push(() => resolve(result));
        }
      });
    } catch (error) {
      this.#failed();
      // One bad operation must not fail its neighbours: each runs again on its own.
      if (operations.length === 1) operations[0]!.reject(error);
      else for (const operation of operations) this.#alone(operation);
      return;
    }
    for (const answer of answers) answer();
  }

  #alone({ operation, resolve, reject }: Operation): void {
    let result: unknown;
    try {
      this.#transaction(() => {
        result = operation();
      });
    } catch (error) {
      this.#failed();
      reject(error);
      return;
    }
    resolve(result);
  }
}

interface Operation {
  readonly operation: () => unknown;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}
