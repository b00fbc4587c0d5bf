import { DAY_MS } from "../../src/bounds.ts";
import type { Weights } from "../../src/catalogue.ts";
import { limitsOf } from "../../src/limits/book.ts";
import { available } from "../../src/limits/bucket.ts";
import type { Drawn } from "../../src/limits/spender.ts";
import { weightedUsage } from "../../src/limits/weights.ts";
import type { Run } from "./gate.ts";
import { BlockGhost } from "./ghost-block.ts";
import { HolderGhost } from "./ghost-holder.ts";
import { HomeGhost, type HomeStep } from "./ghost-home.ts";
import type { SimHolder } from "./holder.ts";
import type { SimHome } from "./home.ts";
import { Intervals, Sliding } from "./intervals.ts";
import { check } from "./violation.ts";

/** A request that runs, as only the ghost sees it: what was made of it and how much of that nothing covers. */
interface Watched {
  /** Its attempts, the latest last. */
  readonly runs: Run[];
  readonly scopes: readonly string[];
  /** Weighted, over all attempts. */
  madeTokens: number;
  uncoveredTokens: number;
}

interface ScopeWatch {
  readonly intervals: Intervals;
  readonly made: Sliding;
  readonly overran: Sliding;
  /** When the home's bucket was last brought up to date, on the home's clock, and at which rate it refills since. */
  touchedMs: number;
  perMinute: number;
  /** Refill since then that `intervals` has been told of already. */
  toldUnits: number;
  /** After a limit was lowered: what may still be spent of the old one. */
  drainTokens: number;
  dayTokens: number;
}

/** A day, a request's longest life, and a slot: overrun older than that is in no window with what it displaced. */
const OVERRUN_COUNTS_MS = DAY_MS + 30 * 60_000;

/**
 * Sees everything that happens everywhere, and knows at once when an invariant breaks. Tokens count at the instant at
 * which the engine makes them, which is what a replica's own ledger would show.
 */
export class Ghost {
  readonly #home: SimHome;
  readonly #holders: readonly SimHolder[];
  readonly #homeGhost = new HomeGhost();
  readonly #holderGhosts: readonly HolderGhost[];
  readonly #scopes = new Map<string, ScopeWatch>();
  readonly #runs = new Map<string, Watched>();
  readonly #blocks = new BlockGhost();
  /** Requests that were admitted beyond what the budget could prove. */
  readonly #onTrust = new Set<string>();
  readonly #weights: Weights;
  /** After the limit was lowered: places of the old one that may still be taken. */
  #drainPlaces = 0;
  overrunTokens = 0;
  madeTokens = 0;
  settledTokens = 0;
  steps = 0;

  constructor(home: SimHome, holders: readonly SimHolder[], weights: Weights) {
    this.#home = home;
    this.#weights = weights;
    this.#holders = holders;
    this.#holderGhosts = holders.map(({ place }) => new HolderGhost(place));
  }

  /** One step of an object, before it is committed. */
  stepped(region: number): void {
    this.steps += 1;
    const store = region === 0 ? this.#home.store : this.#holders[region - 1]!.store;
    for (const id of store.touched) this.#settledOnce(region, id);
    for (const { tokens } of store.settled) this.settledTokens += tokens;
    if (region === 0) {
      const steps = this.#homeGhost.step(this.#home.store, this.#home.clock.latestMs());
      for (const step of steps) this.#touched(step);
    } else {
      const holder = this.#holders[region - 1]!;
      this.#holderGhosts[region - 1]!.step(holder.store, (scope) =>
        this.#home.store.lease(holder.place, scope),
      );
    }
    for (const id of store.onTrust) this.#trusted(region, id);
    for (const id of store.touched) this.#cover(id, 0);
    const { clock } = region === 0 ? this.#home : this.#holders[region - 1]!;
    for (const id of this.#blocks.step(store, clock.nowMs())) this.#cover(id, 0);
  }

  /** An object came back from a crash or an eviction. */
  returned(region: number): void {
    if (region === 0) this.#homeGhost.returned(this.#home.store);
    else this.#holderGhosts[region - 1]!.returned(this.#holders[region - 1]!.store);
  }

  drew(at: number, { claim }: Drawn): void {
    this.#blocks.drew(claim, this.#store(at).block(claim.id));
  }

  /** An attempt makes something. I6: whatever was answered is in a row. */
  started(run: Run): void {
    const known = this.#runs.get(run.id);
    if (known) {
      if (!known.runs.includes(run)) known.runs.push(run);
      return;
    }
    const from = this.#reservation(run.at, run.id) ?? (run.claim && this.#store(run.at).block(run.claim.id));
    check(from !== undefined && from !== null, "I6", () => `${run.id} runs, and its reservation is lost`);
    this.#runs.set(run.id, { runs: [run], scopes: from!.scopes, madeTokens: 0, uncoveredTokens: 0 });
    if (run.claim !== null) this.#blocks.started(run.claim, run.id);
    const places = this.#runningPlaces();
    const { concurrentRequests = Infinity } = limitsOf(this.#home.store.record, "tenant");
    const most = Math.max(concurrentRequests, this.#drainPlaces);
    check(places <= most, "I4", () => `${places} requests run at once, of ${most}`);
  }

  /** Tokens were made. Called after `run.generatedTokens` has grown. */
  made(run: Run): void {
    const watched = this.#runs.get(run.id)!;
    const usage = watched.runs.map(({ generatedTokens, promptTokens }) => {
      return { promptTokens, cachedTokens: 0, outputTokens: generatedTokens - promptTokens, final: true };
    });
    const tokens = weightedUsage(usage, this.#weights) - watched.madeTokens;
    watched.madeTokens += tokens;
    this.madeTokens += tokens;
    this.#cover(run.id, tokens);
  }

  /** The operator changed limits: what the old ones allowed may still be spent. */
  limitsChange(): void {
    const { concurrentRequests = Infinity } = limitsOf(this.#home.store.record, "tenant");
    if (concurrentRequests < Infinity) this.#drainPlaces = Math.max(this.#drainPlaces, concurrentRequests);
    for (const [scope, watch] of this.#scopes) {
      this.#refill(watch);
      watch.intervals.mark(this.#bucketTokens(scope, watch));
      watch.drainTokens = Math.max(watch.drainTokens, watch.perMinute);
    }
  }

  limitsChanged(): void {
    for (const [scope, watch] of this.#scopes) this.#newLimits(scope, watch);
  }

  /** I4, as it really is: requests that run and whose reservation says so. */
  #runningPlaces(): number {
    let places = 0;
    for (const { runs } of this.#runs.values()) {
      const run = runs.at(-1)!;
      // What is admitted on trust keeps to its tokens and to nothing else.
      if (run.state === "runs" && !this.#onTrust.has(run.id) && this.#holdsPlace(run)) places += 1;
    }
    return places;
  }

  #holdsPlace({ at, claim, id }: Run): boolean {
    const reservation = this.#reservation(at, id);
    return reservation ? reservation.running : claim !== null && this.#isLive(at, claim.id);
  }

  #isLive(at: number, block: string): boolean {
    const known = this.#store(at).block(block);
    return known !== undefined && known.state !== "over";
  }

  #store(at: number) {
    return at === 0 ? this.#home.store : this.#holders[at - 1]!.store;
  }

  #reservation(at: number, id: string) {
    return this.#store(at).reservation(id);
  }

  /** What was just admitted on trust beyond all that its lease had free is overrun from now on. */
  #trusted(region: number, id: string): void {
    this.#onTrust.add(id);
    const { heldTokens, scopes } = this.#reservation(region, id)!;
    const nowMs = this.#home.clock.latestMs();
    for (const scope of scopes) {
      const beyond = Math.min(heldTokens, this.#holderGhosts[region - 1]!.overdraftTokens(scope));
      const watch = this.#watch(scope);
      this.#refill(watch);
      watch.intervals.overran(beyond);
      watch.overran.add(nowMs, beyond);
      if (scope === "tenant") this.overrunTokens += beyond;
    }
  }

  /** I7: what is settled of a request only grows, and never beyond what was made of it. */
  #settledOnce(region: number, id: string): void {
    const watched = this.#runs.get(id);
    if (watched === undefined || watched.runs[0]!.at !== region) return;
    const { settledTokens } = this.#reservation(region, id)!;
    const { madeTokens } = watched;
    check(settledTokens <= madeTokens, "I7", () => {
      return `${settledTokens} tokens of ${id} are settled, ${madeTokens} were made`;
    });
  }

  /** What is neither settled nor held is overrun, from the instant on at which it is not. */
  #cover(id: string, madeTokens: number): void {
    const watched = this.#runs.get(id);
    if (!watched) return;
    const { runs, scopes } = watched;
    const { at, claim } = runs[0]!;
    const reservation = this.#reservation(at, id);
    if (reservation && claim) this.#blocks.isClaimed(claim, id);
    const waiting = claim !== null && this.#isLive(at, claim.id) ? claim.tokens : 0;
    const covered = reservation ? reservation.settledTokens + reservation.heldTokens : waiting;
    const uncovered = Math.max(0, watched.madeTokens - covered);
    const overrun = Math.max(0, uncovered - watched.uncoveredTokens);
    watched.uncoveredTokens = uncovered;
    this.overrunTokens += overrun;
    if (madeTokens === 0 && overrun === 0) return;
    const nowMs = this.#home.clock.latestMs();
    for (const scope of scopes) {
      const watch = this.#watch(scope);
      this.#refill(watch);
      if (overrun > 0) watch.overran.add(nowMs, overrun);
      const excess = watch.intervals.made(madeTokens, overrun, this.#bucketTokens(scope, watch));
      if (watch.perMinute < Infinity) {
        check(excess === 0, "I2", () => `${scope} made ${excess} tokens more than any bound allows`);
      }
      if (madeTokens > 0) watch.made.add(nowMs, madeTokens);
      const most = watch.dayTokens + watch.overran.at(nowMs);
      const dayTokens = watch.made.at(nowMs);
      check(dayTokens <= most, "I3", () => `${dayTokens} made in a day, of ${most} (${scope})`);
    }
  }

  #touched({ scope, limits, after }: HomeStep): void {
    const watch = this.#watch(scope);
    this.#refill(watch);
    this.#settleRefill(watch, after.tokens.atMs);
    const outTokens = Math.max(0, available(after.tokens)) + after.heldTokens + after.leased.tokens;
    const limit = limits.tokensPerMinute ?? Infinity;
    watch.drainTokens = Math.min(watch.drainTokens, Math.max(limit, outTokens));
    if (scope !== "tenant") return;
    const outPlaces = Math.max(limits.concurrentRequests ?? 0, after.open + after.leased.slots);
    this.#drainPlaces = Math.min(this.#drainPlaces, outPlaces);
  }

  #bucketTokens(scope: string, { perMinute, drainTokens }: ScopeWatch): number {
    const overdraft = this.#holderGhosts.reduce((sum, holder) => sum + holder.overdraftTokens(scope), 0);
    return Math.max(finite(perMinute), finite(drainTokens)) + overdraft;
  }

  /**
   * Tells `intervals` what the home would refill if it looked now; it accrues at the rate that is in force then. Less than
   * before, if its clock has stepped back since and the home never looked in between: then the time is still to come.
   */
  #refill(watch: ScopeWatch): void {
    const units = this.#refillUnits(watch);
    watch.intervals.refilled(units - watch.toldUnits);
    watch.toldUnits = units;
  }

  /** The home's row has it: no step of the clock takes it back, and none lets that time refill again. */
  #settleRefill(watch: ScopeWatch, atMs: number): void {
    watch.touchedMs = Math.max(watch.touchedMs, atMs);
    watch.toldUnits = this.#refillUnits(watch);
    watch.intervals.settle();
  }

  #refillUnits({ perMinute, touchedMs }: ScopeWatch): number {
    return Math.max(0, this.#home.clock.nowMs() - touchedMs) * finite(perMinute);
  }

  #newLimits(scope: string, watch: ScopeWatch): void {
    const limits = limitsOf(this.#home.store.record, scope);
    this.#settleRefill(watch, this.#home.clock.nowMs());
    watch.perMinute = limits.tokensPerMinute ?? Infinity;
    watch.dayTokens = Math.max(watch.dayTokens, limits.tokensPerDay ?? Infinity);
    this.#refill(watch);
  }

  #watch(scope: string): ScopeWatch {
    const known = this.#scopes.get(scope);
    if (known) return known;
    const limits = limitsOf(this.#home.store.record, scope);
    const watch: ScopeWatch = {
      intervals: new Intervals(),
      made: new Sliding(DAY_MS),
      overran: new Sliding(OVERRUN_COUNTS_MS),
      touchedMs: this.#home.clock.nowMs(),
      perMinute: limits.tokensPerMinute ?? Infinity,
      toldUnits: 0,
      drainTokens: 0,
      dayTokens: limits.tokensPerDay ?? Infinity,
    };
    this.#scopes.set(scope, watch);
    return watch;
  }
}

function finite(tokens: number): number {
  return tokens < Infinity ? tokens : 0;
}
