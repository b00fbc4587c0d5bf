const BAR_WIDTH = 30;
const TENTHS = 10;

/** How far a run is: on a terminal one line that fills, elsewhere a line for every tenth. */
export class Progress {
  readonly #total: number;
  readonly #startedMs: number;
  #tenths = 0;

  /** `nowMs`: of any clock that only goes forward. */
  constructor(total: number, nowMs: number) {
    this.#total = total;
    this.#startedMs = nowMs;
  }

  show(done: number, nowMs: number): void {
    const line = this.line(done, nowMs);
    const tenths = Math.floor((done / this.#total) * TENTHS);
    if (process.stderr.isTTY) process.stderr.write(`\r${line}\u001b[K`);
    else if (tenths > this.#tenths) process.stderr.write(`${line}\n`);
    this.#tenths = tenths;
  }

  end(): void {
    if (process.stderr.isTTY) process.stderr.write("\n");
  }

  line(done: number, nowMs: number): string {
    const share = done / this.#total;
    const perMs = done / Math.max(1, nowMs - this.#startedMs);
    const bar = "█".repeat(Math.round(share * BAR_WIDTH)).padEnd(BAR_WIDTH, "░");
    const left = perMs > 0 ? `${lasting((this.#total - done) / perMs)} left` : "";
    return `${bar} ${done}/${this.#total}  ${Math.round(perMs * 1_000)}/s  ${left}`;
  }
}

function lasting(ms: number): string {
  const seconds = Math.ceil(ms / 1_000);
  const minutes = Math.floor(seconds / 60);
  return minutes === 0 ? `${seconds} s` : `${minutes} min ${seconds % 60} s`;
}
