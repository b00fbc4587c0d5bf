/** A little of the Prometheus text format, as Python's client library prints it. */

export type Labels = Readonly<Record<string, string>>;

/** Counts observations in buckets. */
export class Histogram {
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;
  #count = 0;

  /** `bounds` in ascending order, without infinity. */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    this.#sum += value;
    this.#count++;
    const at = this.#bounds.findIndex((bound) => value <= bound);
    if (at >= 0) this.#counts[at]!++;
  }

  lines(name: string, labels: Labels): string[] {
    let below = 0;
    const buckets = this.#bounds.map((bound, i) => {
      below += this.#counts[i]!;
      return sample(`${name}_bucket`, { ...labels, le: float(bound) }, below);
    });
    return [
      ...buckets,
      sample(`${name}_bucket`, { ...labels, le: "+Inf" }, this.#count),
      sample(`${name}_count`, labels, this.#count),
      sample(`${name}_sum`, labels, this.#sum),
    ];
  }
}

/** One line; labels in alphabetical order. */
export function sample(name: string, labels: Labels, value: number): string {
  const parts = Object.keys(labels)
    .sort()
    .map((key) => `${key}="${labels[key]}"`);
  return `${name}${parts.length === 0 ? "" : `{${parts.join(",")}}`} ${float(value)}`;
}

/** The two comment lines that precede a family. */
export function header(name: string, help: string, type: "gauge" | "counter" | "histogram"): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
}

/** Python prints a whole number with a point. */
function float(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 1e16 ? value.toFixed(1) : String(value);
}
