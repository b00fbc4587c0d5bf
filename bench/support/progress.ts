/** A line on stderr that fills; where stderr is no terminal, a line for every tenth. */
export class Progress {
  readonly #total: number;
  readonly #startedMs = performance.now();
  #done = 0;

  constructor(total: number) {
    this.#total = total;
  }

  step(what: string): void {
    const before = Math.floor((10 * this.#done) / this.#total);
    this.#done += 1;
    const seconds = ((performance.now() - this.#startedMs) / 1_000).toFixed(0);
    const told = `${this.#done}/${this.#total}  ${seconds} s  ${what}`;
    if (process.stderr.isTTY) {
      const bar = "█".repeat(Math.round((30 * this.#done) / this.#total)).padEnd(30, "░");
      process.stderr.write(`\r\x1b[K${bar} ${told}${this.#done === this.#total ? "\n" : ""}`);
    } else if (Math.floor((10 * this.#done) / this.#total) > before) process.stderr.write(`${told}\n`);
  }
}
