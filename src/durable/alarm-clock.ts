/**
 * An object's alarm, which only ever moves earlier: each `setAlarm` costs a row written, so an object that set one on
 * every call would pay as much for its alarms as for its work.
 */
export class AlarmClock {
  readonly #ctx: DurableObjectState;
  /** What it is set for; null: not known, or none. */
  #atMs: number | null = null;

  constructor(ctx: DurableObjectState) {
    this.#ctx = ctx;
  }

  /** Makes sure that the object wakes at `atMs` or before. */
  wakeBy(atMs: number | null): void {
    if (atMs === null || (this.#atMs !== null && this.#atMs <= atMs)) return;
    this.#atMs = atMs;
    this.#ctx.waitUntil(
      (async () => {
        const set = await this.#ctx.storage.getAlarm();
        if (set === null || set > atMs) await this.#ctx.storage.setAlarm(atMs);
        else this.#atMs = set;
      })(),
    );
  }

  /** The alarm rang: the next one is set anew. */
  rang(): void {
    this.#atMs = null;
  }
}
