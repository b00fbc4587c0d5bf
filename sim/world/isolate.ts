import { OBJECT_CALL_TIMEOUT_MS } from "../../src/bounds.ts";
import { EVEN_WEIGHTS } from "../../src/catalogue.ts";
import type { Sizing } from "../../src/limits/block.ts";
import { BLOCK_USE_MS } from "../../src/limits/bounds.ts";
import type { BlockAnswer, BlockAsk, BlockTold, ReserveAsk } from "../../src/limits/messages.ts";
import { type Drawn, type Earning, NEW_SPENDER, type Spender } from "../../src/limits/spender.ts";
import type { Clock } from "./clock.ts";
import type { Protocol } from "./protocol.ts";

/** How an isolate reaches budget objects, and time. */
export interface IsolateWorld {
  /** Whether that object is at that location: another's grants are no business of its isolates. */
  isAt(region: number, at: number): boolean;
  after(delayMs: number, run: () => void): void;
  blocks(
    region: number,
    at: number,
    ask: BlockAsk | null,
    told: readonly BlockTold[],
    reply: (answer: BlockAnswer) => void,
  ): void;
  /** The isolate admitted a request by itself. */
  drew(at: number, drawn: Drawn): void;
}

/** One isolate of the Worker at each place, as far as it admits by itself: production's `relay/blocks.ts`. */
export class SimIsolate {
  readonly #region: number;
  readonly #clock: Clock;
  readonly #protocol: Protocol;
  readonly #world: IsolateWorld;
  readonly #earning: Earning;
  /** By object. */
  #spenders = new Map<number, Spender>();
  #asks = 0;
  #life = 0;

  constructor(region: number, clock: Clock, protocol: Protocol, world: IsolateWorld, earning: Earning) {
    this.#region = region;
    this.#clock = clock;
    this.#protocol = protocol;
    this.#world = world;
    this.#earning = earning;
  }

  draw(at: number, ask: ReserveAsk): Drawn | null {
    if (!this.#world.isAt(this.#region, at)) return null;
    const nowMs = this.#clock.nowMs();
    const { draw, due } = this.#protocol.spender;
    const { spender, drawn } = draw(this.#spender(at), ask, nowMs);
    this.#spenders.set(at, spender);
    const size = due(spender, nowMs, this.#earning);
    if (size !== null) this.#topUp(at, ask, size);
    if (drawn !== null) this.#world.drew(at, drawn);
    return drawn;
  }

  /** Another number for each isolate that there has been. */
  get life(): number {
    return this.#life;
  }

  step(byMs: number): void {
    this.#clock.step(byMs);
  }

  /** Everything that it held in memory is gone; a new isolate takes its place. */
  die(): void {
    this.#spenders.clear();
    this.#life += 1;
  }

  #spender(at: number): Spender {
    return this.#spenders.get(at) ?? NEW_SPENDER;
  }

  #topUp(at: number, ask: ReserveAsk, size: { requests: number; tokens: number }): void {
    const { asked, ended, lost, took } = this.#protocol.spender;
    const sentAtMs = this.#clock.nowMs();
    const { spender, told } = asked(this.#spender(at), sentAtMs);
    this.#spenders.set(at, spender);
    const id = `blk_${this.#region}_${this.#life}_${++this.#asks}`;
    const weights = ask.weights ?? EVEN_WEIGHTS;
    const { from, keyId, model, secretHash } = ask;
    const life = this.#life;
    let answered = false;
    const end = () => {
      if (life !== this.#life) return;
      const last = ended(this.#spender(at), sentAtMs);
      if (last === null) return;
      this.#spenders.set(at, last.spender);
      this.#world.blocks(this.#region, at, null, last.told, () => undefined);
    };
    const message = { id, from, keyId, model, secretHash, weights, ...size };
    this.#world.blocks(this.#region, at, message, told, (answer) => {
      if (answered || life !== this.#life) return;
      answered = true;
      this.#spenders.set(at, took(this.#spender(at), id, answer, sentAtMs, this.#clock.nowMs()));
      this.#world.after(BLOCK_USE_MS, end);
    });
    this.#world.after(OBJECT_CALL_TIMEOUT_MS, () => {
      if (answered || life !== this.#life) return;
      answered = true;
      this.#spenders.set(at, lost(this.#spender(at), id, told, this.#clock.nowMs()));
      this.#world.after(BLOCK_USE_MS, end);
    });
  }
}

export type BlockSetting = Sizing & Earning;

/** What is asked of an isolate where the setting has no blocks: a demand that nobody reaches. */
export const NO_BLOCKS: BlockSetting = { share: 0, leastRequests: Infinity, perSecond: Infinity };
