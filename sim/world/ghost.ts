import type { Weights } from "../../src/catalogue.ts";
import { limitsOf } from "../../src/limits/book.ts";
import { available } from "../../src/limits/bucket.ts";
import type { Drawn } from "../../src/limits/spender.ts";
import { weightedUsage } from "../../src/limits/weights.ts";
import type { Run } from "./gate.ts";
import { BlockGhost } from "./ghost-block.ts";
import { CountGhost } from "./ghost-count.ts";
import { HolderGhost } from "./ghost-holder.ts";
import { HomeGhost, type HomeStep } from "./ghost-home.ts";
import { RaceGhost } from "./ghost-race.ts";
import { ScopeWatch } from "./ghost-scope.ts";
import type { SimHolder } from "./holder.ts";
import type { SimHome } from "./home.ts";
import { check } from "./violation.ts";

/** A request that runs, as only the ghost sees it: what was made of it and how much of that nothing covers. */
interface Watched {
  /** Its attempts, the latest last. */
  readonly runs: Run[];
  readonly scopes: readonly string[];
  /** Weighted, over all attempts that the tenant pays for; of two that race, the costlier. */
  madeTokens: number;
  /** Settled or held for it, when last looked at. */
  coveredTokens: number;
  uncoveredTokens: number;
}

const NOTHING_MADE = { madeTokens: 0, coveredTokens: 0, uncoveredTokens: 0 };

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
  readonly #races = new RaceGhost();
  readonly #counts = new CountGhost();
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
    const store = this.#store(region);
    const { clock } = region === 0 ? this.#home : this.#holders[region - 1]!;
    const nowMs = clock.nowMs();
    this.#decided(
      region === 0
        ? this.#races.step(region, this.#home.store, nowMs)
        : this.#races.step(region, this.#holders[region - 1]!.store, nowMs),
    );
    for (const id of store.touched) this.#settledOnce(region, id);
    this.#counts.step(region, store);
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
    for (const id of this.#blocks.step(store, clock.nowMs())) this.#cover(id, 0);
  }

  /** An object came back from a crash or an eviction. */
  returned(region: number): void {
    if (region === 0) this.#homeGhost.returned(this.#home.store);
    else this.#holderGhosts[region - 1]!.returned(this.#holders[region - 1]!.store);
  }

  /** A request's first attempt is late; of two there will be at most one that is charged. */
  mayRace({ at, id }: Run, attempts: readonly number[]): void {
    this.#races.mayRace(at, id, attempts);
  }

  /** Both attempts run. */
  races(id: string): void {
    this.#races.races(id);
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
    this.#runs.set(run.id, { runs: [run], scopes: from!.scopes, ...NOTHING_MADE });
    if (run.claim !== null) this.#blocks.started(run.claim, run.id);
    const places = this.#runningPlaces();
    const { concurrentRequests = Infinity } = limitsOf(this.#home.store.record, "tenant");
    const most = Math.max(concurrentRequests, this.#drainPlaces);
    check(places <= most, "I4", () => `${places} requests run at once, of ${most}`);
  }

  /** Tokens were made. Called after `run.generatedTokens` has grown. */
  made({ id }: Run): void {
    this.#cover(id, this.#count(id));
  }

  /** The operator changed limits: what the old ones allowed may still be spent. */
  limitsChange(): void {
    const { concurrentRequests = Infinity } = limitsOf(this.#home.store.record, "tenant");
    if (concurrentRequests < Infinity) this.#drainPlaces = Math.max(this.#drainPlaces, concurrentRequests);
    for (const [scope, watch] of this.#scopes) {
      watch.refill(this.#home.clock.nowMs());
      watch.intervals.mark(this.#bucketTokens(scope, watch));
      watch.drainTokens = Math.max(watch.drainTokens, watch.perMinute);
    }
  }

  limitsChanged(): void {
    const { clock, store } = this.#home;
    for (const [scope, watch] of this.#scopes) watch.take(limitsOf(store.record, scope), clock.nowMs());
  }

  /**
   * It is known now who is charged. Where that is the cheaper of two, what counted as made beyond it was held and is free
   * again, as far as it was not overrun.
   */
  #decided(ids: readonly string[]): void {
    const nowMs = this.#home.clock.latestMs();
    for (const id of ids) {
      const watched = this.#runs.get(id);
      const unmadeTokens = watched === undefined ? 0 : -this.#count(id);
      if (watched === undefined || unmadeTokens <= 0) continue;
      const uncovered = Math.max(0, watched.madeTokens - watched.coveredTokens);
      const freed = unmadeTokens - (watched.uncoveredTokens - uncovered);
      watched.uncoveredTokens = uncovered;
      for (const scope of watched.scopes) {
        const watch = this.#watch(scope);
        watch.intervals.overran(freed);
        watch.made.add(nowMs, -unmadeTokens);
      }
    }
  }

  /** Weighted tokens that were made for the tenant since they were last counted: of two attempts that race, the costlier. */
  #count(id: string): number {
    const watched = this.#runs.get(id)!;
    const outcomes = this.#races.outcomes(id, watched.runs).map((runs) => this.#weighted(runs));
    const tokens = Math.max(...outcomes) - watched.madeTokens;
    watched.madeTokens += tokens;
    this.madeTokens += tokens;
    return tokens;
  }

  #weighted(runs: readonly Run[]): number {
    const usage = runs.map(({ generatedTokens, promptTokens }) => {
      return { promptTokens, cachedTokens: 0, outputTokens: generatedTokens - promptTokens, final: true };
    });
    return weightedUsage(usage, this.#weights);
  }

  /** I4, as it really is: requests that run and whose reservation says so. */
  #runningPlaces(): number {
    let places = 0;
    for (const [id, { runs }] of this.#runs) {
      const run = runs.findLast(({ attempt, state }) => state === "runs" && !this.#races.isLost(id, attempt));
      // What is admitted on trust keeps to its tokens and to nothing else.
      if (run !== undefined && !this.#onTrust.has(id) && this.#holdsPlace(run)) places += 1;
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
      watch.refill(this.#home.clock.nowMs());
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
    const madeTokens = this.#weighted(watched.runs.filter((run) => this.#races.isCharged(id, run.attempt)));
    check(settledTokens <= madeTokens, "I7", () => {
      return `${settledTokens} tokens of ${id} are settled, ${madeTokens} were made`;
    });
  }

  /** What is neither settled nor held is overrun, from the instant on at which it is not. */
  #cover(id: string, madeTokens: number): void {
    const watched = this.#runs.get(id);
    if (!watched) return;
    const { runs, scopes } = watched;
    const covered = this.#coveredTokens(runs[0]!);
    const uncovered = Math.max(0, watched.madeTokens - covered);
    const overrun = Math.max(0, uncovered - watched.uncoveredTokens);
    watched.coveredTokens = covered;
    watched.uncoveredTokens = uncovered;
    this.overrunTokens += overrun;
    if (madeTokens === 0 && overrun === 0) return;
    const nowMs = this.#home.clock.latestMs();
    for (const scope of scopes) {
      const watch = this.#watch(scope);
      watch.refill(this.#home.clock.nowMs());
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

  #coveredTokens({ at, claim, id }: Run): number {
    const reservation = this.#reservation(at, id);
    if (reservation && claim) this.#blocks.isClaimed(claim, id);
    if (reservation) return reservation.settledTokens + reservation.heldTokens;
    return claim !== null && this.#isLive(at, claim.id) ? claim.tokens : 0;
  }

  #touched({ scope, limits, after }: HomeStep): void {
    const watch = this.#watch(scope);
    watch.refill(this.#home.clock.nowMs());
    watch.settleRefill(after.tokens.atMs, this.#home.clock.nowMs());
    const outTokens = Math.max(0, available(after.tokens)) + after.heldTokens + after.leased.tokens;
    const limit = limits.tokensPerMinute ?? Infinity;
    watch.drainTokens = Math.min(watch.drainTokens, Math.max(limit, outTokens));
    if (scope !== "tenant") return;
    const outPlaces = Math.max(limits.concurrentRequests ?? 0, after.open + after.leased.slots);
    this.#drainPlaces = Math.min(this.#drainPlaces, outPlaces);
  }

  #bucketTokens(scope: string, watch: ScopeWatch): number {
    const overdraft = this.#holderGhosts.reduce((sum, holder) => sum + holder.overdraftTokens(scope), 0);
    return watch.bucketTokens + overdraft;
  }

  #watch(scope: string): ScopeWatch {
    const known = this.#scopes.get(scope);
    if (known) return known;
    const watch = new ScopeWatch(limitsOf(this.#home.store.record, scope), this.#home.clock.nowMs());
    this.#scopes.set(scope, watch);
    return watch;
  }
}
