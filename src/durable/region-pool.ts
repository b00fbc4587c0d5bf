import { DurableObject, RpcTarget } from "cloudflare:workers";
import { LEARNED_FROM_MAX, LEARNED_SAVE_MS, POOL_PUBLISH_MIN_GAP_MS, POOL_WATCH_TTL_MS } from "../bounds.ts";
import type { LocationHint } from "../catalogue.ts";
import type { CountedPrompt } from "../contract/prompt-basis.ts";
import type { Env } from "../env.ts";
import { learned } from "../limits/learn.ts";
import type { Learned } from "../limits/messages.ts";
import type {
  AcquireAsk,
  BreakerOrder,
  BreakersView,
  Grant,
  Heartbeat,
  Held,
  Outcomes,
  PermitOutcome,
  PoolState,
  Refused,
} from "../routing/messages.ts";
import { OutcomeWindow } from "../routing/outcomes.ts";
import { Pool, type Resolved } from "../routing/pool.ts";
import { PoolRows } from "./pool/rows.ts";
import { directory } from "./stub.ts";

type Acquired =
  | { readonly answer: Grant; readonly permit: PoolPermit }
  | { readonly answer: Held; readonly permit: PoolPermit; readonly wait: PoolWait }
  | { readonly answer: Refused };

/** A timer that finds nothing to do yet must not be set again for now: the clock stands still inside an event. */
const TIMER_MIN_MS = 5;

/** Permits of one pool for one model, beside its GPUs. A shell: clock, sessions and rows around `Pool`. */
export class RegionPool extends DurableObject<Env> {
  readonly #pool: Pool;
  readonly #outcomes = new OutcomeWindow();
  readonly #waiters = new Map<string, (answer: Grant | Refused) => void>();
  readonly #watchers = new Map<LocationHint, number>();
  readonly #rows: PoolRows;
  /** As the last heartbeat counted them. */
  #cells = 1;
  #epoch: number;
  #learned: Learned;
  readonly #learnedFrom = new Set<string>();
  #savedLearned: Learned | null = null;
  #learnedSavedAtMs = 0;
  #breakersKept = 0;
  #sweepAtMs = Infinity;
  #sweepTimer: ReturnType<typeof setTimeout> | null = null;
  #publishedAtMs = 0;
  #publishPending = false;
  #publishedLoad = -1;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const nowMs = Date.now();
    this.#rows = new PoolRows(ctx.storage.sql, nowMs);
    const { replicas, epoch, learned, breakers } = this.#rows;
    [this.#epoch, this.#learned] = [epoch, learned];
    const options = { saved: this.#rows.memory(), savedBreakers: breakers, random: Math.random };
    this.#pool = new Pool(replicas, nowMs, options);
  }

  /** A permit for one call of a replica, a place in the queue, or a refusal with the time to come back. */
  acquire(ask: AcquireAsk): Acquired {
    const nowMs = Date.now();
    this.#resolve(this.#pool.sweep(nowMs));
    const answer = this.#pool.acquire(ask, nowMs);
    this.#keepBreakers(nowMs);
    if (answer.kind === "refused") return { answer };
    this.#sweepLater(nowMs);
    this.#publishLoad(nowMs);
    const permit = new PoolPermit(this.#hold(ask.id));
    if (answer.kind === "granted") return { answer, permit };
    const granted = new Promise<Grant | Refused>((resolve) => this.#waiters.set(ask.id, resolve));
    return { answer, permit, wait: new PoolWait(granted) };
  }

  heartbeat(beat: Heartbeat): void {
    const nowMs = Date.now();
    const { changed, resolved } = this.#pool.heartbeat(beat, nowMs);
    const isSplitAnew = this.#cells !== (beat.cells ?? 1);
    this.#cells = beat.cells ?? 1;
    this.#outcomes.hear(beat, nowMs);
    this.#learn(beat.counted ?? [], nowMs);
    this.#resolve(resolved);
    this.#sweepLater(nowMs);
    this.#rows.saveMemory(this.#pool, nowMs);
    if (changed || isSplitAnew) {
      this.#rows.saveReplicas(this.#pool);
      this.#publishSoon(nowMs);
    } else {
      this.#publishLoad(nowMs);
    }
    this.#keepBreakers(nowMs);
  }

  /** An operator's word on a breaker; null: there is no such replica. */
  overrideBreaker(order: BreakerOrder): BreakersView | null {
    const nowMs = Date.now();
    const { breakers } = this.#pool;
    const known = [...this.#pool.reports().map(({ id }) => id), ...breakers.view(nowMs).overrides.map(held)];
    if (order.replica !== null && !known.includes(order.replica)) return null;
    breakers.force(order, nowMs);
    this.#resolve(this.#pool.sweep(nowMs));
    this.#keepBreakers(nowMs);
    return breakers.view(nowMs);
  }

  /** A directory that is being read wants to hear of changes for a while. Returns the state now. */
  watch(readersHint: LocationHint): PoolState {
    const nowMs = Date.now();
    this.#watchers.set(readersHint, nowMs + POOL_WATCH_TTL_MS);
    return this.#state(nowMs);
  }

  state(): PoolState {
    const nowMs = Date.now();
    this.#resolve(this.#pool.sweep(nowMs));
    this.#keepBreakers(nowMs);
    return this.#state(nowMs);
  }

  /** How requests ended here since then: what a rollout is judged by. */
  outcomes(sinceMs: number): Outcomes {
    return this.#outcomes.since(sinceMs, Date.now());
  }

  #state(nowMs: number): PoolState {
    return {
      ...nameOf(this.ctx.id.name ?? ""),
      cells: this.#cells,
      epoch: this.#epoch,
      atMs: nowMs,
      colo: null,
      learned: this.#learned,
      ...this.#pool.view(nowMs),
    };
  }

  #hold(id: string): PermitOps {
    let over = false;
    return {
      started: () => {
        if (over) return;
        const nowMs = Date.now();
        this.#resolve(this.#pool.started(id, nowMs));
        this.#sweepLater(nowMs);
      },
      extend: (replica) => {
        if (!over) this.#pool.extend(id, replica, Date.now());
      },
      release: (outcome) => {
        if (over) return;
        over = true;
        const nowMs = Date.now();
        const left = this.#waiters.get(id);
        if (left) {
          this.#waiters.delete(id);
          left({ kind: "refused", reason: "waited_too_long", retryAfterMs: 1_000 });
        }
        this.#resolve(this.#pool.release(id, outcome, nowMs));
        this.#keepBreakers(nowMs);
        this.#sweepLater(nowMs);
        this.#publishLoad(nowMs);
      },
    };
  }

  #resolve(resolved: readonly Resolved[]): void {
    for (const { id, answer } of resolved) {
      const waiter = this.#waiters.get(id);
      this.#waiters.delete(id);
      if (waiter) waiter(answer);
      else if (answer.kind === "granted") this.#resolve(this.#pool.release(id, "not_used", Date.now()));
    }
  }

  /** One timer, for the earliest end of a permit or a wait, or for a held request that may be sent then. The object is awake anyway while permits live. */
  #sweepLater(nowMs: number): void {
    const next = this.#pool.nextDeadlineMs(nowMs);
    if (next === null || next >= this.#sweepAtMs) return;
    if (this.#sweepTimer !== null) clearTimeout(this.#sweepTimer);
    this.#sweepAtMs = next;
    this.#sweepTimer = setTimeout(
      () => {
        this.#sweepAtMs = Infinity;
        this.#sweepTimer = null;
        const atMs = Date.now();
        this.#resolve(this.#pool.sweep(atMs));
        this.#keepBreakers(atMs);
        this.#sweepLater(atMs);
      },
      Math.max(TIMER_MIN_MS, next - nowMs),
    );
  }

  /** Each prompt once, though its report may come again. Written seldom: a lost minute is soon learned again. */
  #learn(counted: readonly CountedPrompt[], nowMs: number): void {
    for (const prompt of counted) {
      if (this.#learnedFrom.has(prompt.requestId)) continue;
      if (this.#learnedFrom.size >= LEARNED_FROM_MAX) this.#learnedFrom.clear();
      this.#learnedFrom.add(prompt.requestId);
      this.#learned = learned(this.#learned, prompt);
    }
    if (this.#learned === this.#savedLearned || nowMs - this.#learnedSavedAtMs < LEARNED_SAVE_MS) return;
    this.#learnedSavedAtMs = nowMs;
    this.#savedLearned = this.#learned;
    this.#rows.saveLearned(this.#learned);
  }

  /** Written when a breaker changed its state or an operator spoke, not with every count. */
  #keepBreakers(nowMs: number): void {
    const { revision } = this.#pool.breakers;
    if (revision === this.#breakersKept) return;
    this.#breakersKept = revision;
    this.#rows.saveReplicas(this.#pool);
    this.#publishSoon(nowMs);
  }

  /** Load is news to directories when it moved by a tenth of the capacity. */
  #publishLoad(nowMs: number): void {
    const load = Math.round(10 * this.#pool.loadShare(nowMs));
    if (load === this.#publishedLoad) return;
    this.#publishedLoad = load;
    this.#publishSoon(nowMs);
  }

  #publishSoon(nowMs: number): void {
    this.#epoch += 1;
    if (this.#publishPending || this.#watchers.size === 0) return;
    this.#publishPending = true;
    const inMs = Math.max(0, this.#publishedAtMs + POOL_PUBLISH_MIN_GAP_MS - nowMs);
    setTimeout(() => this.ctx.waitUntil(this.#publish()), inMs);
  }

  async #publish(): Promise<void> {
    this.#publishPending = false;
    const nowMs = Date.now();
    this.#publishedAtMs = nowMs;
    const state = this.#state(nowMs);
    const watching = [...this.#watchers].filter(
      ([hint, untilMs]) => untilMs > nowMs || !this.#watchers.delete(hint),
    );
    // A directory that cannot be reached asks again by itself when it is next read.
    await Promise.allSettled(watching.map(([hint]) => directory(this.env, hint).publish(state)));
  }
}

interface PermitOps {
  started(): void;
  extend(replica: string): void;
  release(outcome: PermitOutcome): void;
}

/** The caller's hold on a replica. Disposed when the caller's session ends, however it ends. */
export class PoolPermit extends RpcTarget {
  readonly #ops: PermitOps;
  constructor(ops: PermitOps) {
    super();
    this.#ops = ops;
  }
  /** Its first token came. */
  started(): void {
    this.#ops.started();
  }
  extend(replica: string): void {
    this.#ops.extend(replica);
  }
  release(outcome: PermitOutcome): void {
    this.#ops.release(outcome);
  }
  [Symbol.dispose](): void {
    this.#ops.release("not_used");
  }
}

/** A place in the queue. */
export class PoolWait extends RpcTarget {
  readonly #granted: Promise<Grant | Refused>;
  constructor(granted: Promise<Grant | Refused>) {
    super();
    this.#granted = granted;
  }
  granted(): Promise<Grant | Refused> {
    return this.#granted;
  }
}

function held({ replica }: BreakersView["overrides"][number]): string | null {
  return replica;
}

/** `<pool>/<hint>/<model>/<cell>`; a model's name may contain slashes. */
function nameOf(name: string): Pick<PoolState, "pool" | "model" | "cell"> {
  const [pool = "", , ...rest] = name.split("/");
  return { pool, model: rest.slice(0, -1).join("/"), cell: Number(rest.at(-1) ?? 0) };
}
