interface Due {
  readonly id: string;
  readonly atMs: number;
  /** Of two at one instant the one that came first. */
  readonly order: number;
}

function isBefore(a: Due, b: Due): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** Who is due when: a binary heap. One that leaves early stays in it until it comes up, or until most have left. */
export class Deadlines {
  readonly #due = new Map<string, Due>();
  #heap: Due[] = [];
  #order = 0;

  set(id: string, atMs: number): void {
    const due = { id, atMs, order: this.#order++ };
    this.#due.set(id, due);
    this.#push(due);
    if (this.#heap.length > 2 * this.#due.size + 16) this.#rebuild();
  }

  delete(id: string): void {
    this.#due.delete(id);
  }

  /** Infinity when nobody is due. */
  nextMs(): number {
    return this.#first()?.atMs ?? Infinity;
  }

  /** Takes the one that is due first, if it is due by now. */
  takeDue(nowMs: number): string | null {
    const first = this.#first();
    if (first === null || first.atMs > nowMs) return null;
    this.#due.delete(first.id);
    return first.id;
  }

  #first(): Due | null {
    for (let first = this.#heap[0]; first !== undefined; first = this.#heap[0]) {
      if (this.#due.get(first.id) === first) return first;
      this.#pop();
    }
    return null;
  }

  #rebuild(): void {
    this.#heap = [];
    for (const due of this.#due.values()) this.#push(due);
  }

  #push(due: Due): void {
    const heap = this.#heap;
    let at = heap.push(due) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (isBefore(heap[parent]!, due)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = due;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1;
      if (isBefore(last, heap[child]!)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}
