import { POOL_PUBLISH_MIN_GAP_MS } from "../../../src/bounds.ts";
import type { ReplicaReport } from "../../../src/contract/report.ts";
import type {
  AcquireAsk,
  Grant,
  Heartbeat,
  Held,
  PermitOutcome,
  PoolState,
  Refused,
} from "../../../src/routing/messages.ts";
import { Pool, type Resolved } from "../../../src/routing/pool.ts";
import type { VirtualTime } from "./virtual-time.ts";

export type Acquired =
  | { readonly answer: Grant | Refused }
  | { readonly answer: Held; readonly granted: Promise<Grant | Refused> };

/** The object was restarted: whatever session its caller had is gone. */
export class Broken extends Error {}

interface Waiter {
  resolve(answer: Grant | Refused): void;
  reject(error: Broken): void;
}

/** A copy of the object's shell around the pure `Pool`: clock, sessions, one timer, publishing. */
export class PoolObject {
  readonly #id: string;
  readonly #model: string;
  readonly #time: VirtualTime;
  readonly #publish: (state: PoolState) => void;
  #pool: Pool;
  #waiters = new Map<string, Waiter>();
  #epoch = 1;
  /** Sessions of earlier lives are broken. */
  life = 1;
  #sweepAtMs = Infinity;
  #publishPlanned = false;

  constructor(id: string, model: string, time: VirtualTime, publish: (state: PoolState) => void) {
    this.#id = id;
    this.#model = model;
    this.#time = time;
    this.#publish = publish;
    this.#pool = new Pool([], time.nowMs);
  }

  acquire(ask: AcquireAsk): Acquired {
    const { nowMs } = this.#time;
    this.#resolve(this.#pool.sweep(nowMs));
    const answer = this.#pool.acquire(ask, nowMs);
    this.#changed();
    if (answer.kind !== "waiting") return { answer };
    const granted = new Promise<Grant | Refused>((resolve, reject) => {
      this.#waiters.set(ask.id, { resolve, reject });
    });
    return { answer, granted };
  }

  extend(id: string, replica: string, life: number): void {
    if (life === this.life) this.#pool.extend(id, replica, this.#time.nowMs);
  }

  started(id: string, life: number): void {
    if (life !== this.life) return;
    this.#resolve(this.#pool.started(id, this.#time.nowMs));
    this.#changed();
  }

  release(id: string, outcome: PermitOutcome, life: number): void {
    if (life !== this.life) return;
    this.#waiters.delete(id);
    this.#resolve(this.#pool.release(id, outcome, this.#time.nowMs));
    this.#changed();
  }

  heartbeat(beat: Heartbeat): void {
    this.#resolve(this.#pool.heartbeat(beat, this.#time.nowMs).resolved);
    this.#changed();
  }

  state(): PoolState {
    const { nowMs } = this.#time;
    return {
      pool: this.#id,
      model: this.#model,
      epoch: this.#epoch,
      atMs: nowMs,
      colo: null,
      ...this.#pool.view(nowMs),
    };
  }

  /** Memory is gone; what was written is not. */
  restart(): void {
    const known: readonly ReplicaReport[] = this.#pool.reports();
    const options = { saved: this.#pool.save(), savedBreakers: this.#pool.breakers.save() };
    const waiters = [...this.#waiters.values()];
    this.#pool = new Pool(known, this.#time.nowMs, options);
    this.#waiters = new Map();
    this.life += 1;
    this.#epoch += 1_000_000;
    this.#sweepAtMs = Infinity;
    for (const { reject } of waiters) reject(new Broken());
  }

  #resolve(resolved: readonly Resolved[]): void {
    for (const { id, answer } of resolved) {
      const waiter = this.#waiters.get(id);
      this.#waiters.delete(id);
      if (waiter) waiter.resolve(answer);
      else if (answer.kind === "granted") {
        this.#resolve(this.#pool.release(id, "not_used", this.#time.nowMs));
      }
    }
  }

  #changed(): void {
    this.#epoch += 1;
    this.#sweepLater();
    if (this.#publishPlanned) return;
    this.#publishPlanned = true;
    this.#time.events.after(POOL_PUBLISH_MIN_GAP_MS, () => {
      this.#publishPlanned = false;
      this.#publish(this.state());
    });
  }

  #sweepLater(): void {
    const atMs = this.#pool.nextDeadlineMs(this.#time.nowMs);
    if (atMs === null || atMs >= this.#sweepAtMs) return;
    this.#sweepAtMs = atMs;
    const { life } = this;
    this.#time.events.after(Math.max(0, atMs - this.#time.nowMs), () => {
      if (this.#sweepAtMs !== atMs || life !== this.life) return;
      this.#sweepAtMs = Infinity;
      this.#resolve(this.#pool.sweep(this.#time.nowMs));
      this.#sweepLater();
    });
  }
}
