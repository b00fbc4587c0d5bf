import { DAY_MS } from "../../src/bounds.ts";
import type { Limits } from "../../src/catalogue.ts";
import { type Account, committed } from "../../src/limits/account.ts";
import { limitsOf } from "../../src/limits/book.ts";
import { UNITS_PER_TOKEN } from "../../src/limits/bucket.ts";
import { NONE, plus, type Quantity } from "../../src/limits/lease.ts";
import { type Lease, outstanding } from "../../src/limits/lease-home.ts";
import { hasRun } from "../../src/limits/reservation.ts";
import { roll, spentTokens } from "../../src/limits/window.ts";
import { Sliding } from "./intervals.ts";
import type { Store } from "./store.ts";
import { check } from "./violation.ts";

/** What the home's rows said of one scope after its last step. */
interface Seen {
  readonly account: Account;
  readonly leases: ReadonlyMap<string, Lease>;
  readonly limits: Limits;
}

/** Usage that one step of the home took note of. */
export interface HomeStep {
  readonly scope: string;
  readonly limits: Limits;
  readonly before: Account | undefined;
  readonly after: Account;
}

/** Watches the home's side of every scope: nothing is minted, nothing is counted twice, the day keeps what was spent. */
export class HomeGhost {
  readonly #seen = new Map<string, Seen>();
  readonly #spent = new Map<string, Sliding>();

  /** Checks one step before it is committed; returns the scopes that it touched. */
  step(store: Store<Account>, latestMs: number): HomeStep[] {
    const steps: HomeStep[] = [];
    for (const scope of store.scopes()) {
      const after = store.account(scope)!;
      const seen = this.#seen.get(scope);
      if (after === seen?.account) continue;
      const leases = new Map(store.leases(scope).map((lease) => [lease.holder, lease]));
      const limits = limitsOf(store.record, scope);
      this.#counters(store, after, leases);
      const used = usedSince(store, scope, seen?.leases ?? new Map(), leases);
      this.#bucket(limits, seen, after, used, latestMs);
      this.#requests(limits, seen, after);
      this.#day(limits, seen?.account, after, used);
      this.#places(limits, seen?.account, after);
      this.#seen.set(scope, { account: after, leases, limits });
      steps.push({ scope, limits, before: seen?.account, after });
    }
    return steps;
  }

  /** I6: what an object knows when it comes back is what it knew. */
  returned(store: Store<Account>): void {
    for (const [scope, { account }] of this.#seen) {
      const now = store.account(scope);
      check(JSON.stringify(now) === JSON.stringify(account), "I6", () => `the home forgot ${scope}`);
      if (now) this.#seen.set(scope, { ...this.#seen.get(scope)!, account: now });
    }
  }

  /** I1: what an account says that it holds is what its reservations and leases hold. */
  #counters(store: Store<Account>, account: Account, leases: ReadonlyMap<string, Lease>): void {
    const { scope } = account;
    let heldTokens = 0;
    let heldRequests = 0;
    let open = 0;
    for (const id of new Set([...store.live, ...store.touchedBlocks])) {
      const block = store.block(id)!;
      if (!block.scopes.includes(scope)) continue;
      heldTokens += block.heldTokens;
      heldRequests += block.heldRequests;
      open += block.heldRequests;
    }
    for (const id of new Set([...store.open, ...store.touched])) {
      const reservation = store.reservation(id)!;
      if (!reservation.scopes.includes(scope)) continue;
      heldTokens += reservation.heldTokens;
      heldRequests += reservation.state === "open" && !hasRun(reservation) ? 1 : 0;
      open += reservation.running ? 1 : 0;
    }
    check(
      account.heldRequests === heldRequests,
      "I1",
      () => `home holds ${account.heldRequests} requests, not ${heldRequests}`,
    );
    check(
      account.heldTokens === heldTokens,
      "I1",
      () => `home holds ${account.heldTokens}, not ${heldTokens}`,
    );
    check(account.open === open, "I1", () => `home counts ${account.open} open requests, not ${open}`);
    const out = [...leases.values()].reduce<Quantity>((sum, lease) => plus(sum, outstanding(lease)), NONE);
    const { leased } = account;
    const same =
      leased.tokens === out.tokens && leased.requests === out.requests && leased.slots === out.slots;
    check(
      same,
      "I1",
      () => `leased ${JSON.stringify(leased)} of ${scope}, outstanding ${JSON.stringify(out)}`,
    );
  }

  /** I2 and I5: level, held and leased fit into the bucket and grow by refill alone. */
  #bucket(limits: Limits, seen: Seen | undefined, after: Account, used: number, latestMs: number): void {
    const { tokensPerMinute } = limits;
    if (tokensPerMinute === undefined) return;
    const before = seen?.account;
    const elapsedMs = before ? after.tokens.atMs - before.tokens.atMs : 0;
    check(elapsedMs >= 0, "I5", () => "the home's bucket went back in time");
    check(after.tokens.atMs <= latestMs, "I5", () => "the home refilled for time that has not come");
    // On the step that changes limits, refill up to it was at the old ones; `Intervals` holds it to that.
    const same = seen === undefined || seen.limits.tokensPerMinute === tokensPerMinute;
    const rate = Math.max(tokensPerMinute, seen?.limits.tokensPerMinute ?? 0);
    const whole = tokensPerMinute * UNITS_PER_TOKEN;
    const fromUnits = before ? potentialUnits(before) : whole;
    const fullUnits = Math.max(fromUnits, rate * UNITS_PER_TOKEN);
    const expectedUnits = Math.min(fromUnits + rate * elapsedMs, fullUnits) - used * UNITS_PER_TOKEN;
    const excess = (potentialUnits(after) - expectedUnits) / UNITS_PER_TOKEN;
    check(excess <= 0, "I5", () => `${excess} tokens of ${after.scope} came from nowhere`);
    // After a limit was lowered, what comes back above it is dropped.
    const exact = same && fromUnits <= whole;
    check(!exact || excess === 0, "I7", () => `${-excess} tokens of ${after.scope} were charged twice`);
    const fits = after.tokens.levelUnits <= 0 || potentialUnits(after) <= whole || !exact;
    check(fits, "I2", () => `${after.scope} could spend more than ${tokensPerMinute}`);
  }

  #requests(limits: Limits, seen: Seen | undefined, after: Account): void {
    const { requestsPerMinute } = limits;
    if (requestsPerMinute === undefined || seen === undefined) return;
    const { account: before } = seen;
    const rate = Math.max(requestsPerMinute, seen.limits.requestsPerMinute ?? 0);
    const units = ({ heldRequests, leased, requests }: Account) =>
      requests.levelUnits + (heldRequests + leased.requests) * UNITS_PER_TOKEN;
    const elapsedMs = after.requests.atMs - before.requests.atMs;
    const most = units(before) + rate * elapsedMs;
    check(units(after) <= most, "I5", () => `requests of ${after.scope} came from nowhere`);
    // A lowered limit may find more outstanding than it is, and refill up to then was at the old one.
    const whole = Math.max(rate * UNITS_PER_TOKEN, units(before));
    check(units(after) <= whole, "I2", () => `${after.scope} could make over ${requestsPerMinute} requests`);
  }

  /** I3: what was spent in the last day is counted, and what is promised on top stays within the limit. */
  #day(limits: Limits, before: Account | undefined, after: Account, used: number): void {
    const { atMs } = after.tokens;
    const spent = this.#spent.get(after.scope) ?? new Sliding(DAY_MS);
    this.#spent.set(after.scope, spent);
    if (used > 0) {
      spent.add(atMs, used);
      const dayLater = spentTokens(roll(after.day, atMs + DAY_MS - 1));
      check(dayLater >= used, "I3", () => `of ${used} tokens spent now, ${dayLater} would count all day`);
    }
    const counted = spentTokens(after.day);
    check(counted >= spent.at(atMs), "I3", () => `${spent.sum} spent in a day, ${counted} counted`);
    if (limits.tokensPerDay === undefined) return;
    // One step may take many reports: one is extended to the limit, the next one's overrun comes on top.
    const most = Math.max(limits.tokensPerDay, before ? committed(before) : 0) + used;
    check(
      committed(after) <= most,
      "I3",
      () => `${committed(after)} promised of ${limits.tokensPerDay} a day`,
    );
  }

  /** I4: above the limit, as after the operator lowered it, the places only ever become fewer. */
  #places({ concurrentRequests }: Limits, before: Account | undefined, after: Account): void {
    if (concurrentRequests === undefined) return;
    const places = after.open + after.leased.slots;
    const most = Math.max(concurrentRequests, before ? before.open + before.leased.slots : 0);
    check(places <= most, "I4", () => `${places} places of ${concurrentRequests}`);
  }
}

function potentialUnits({ tokens, heldTokens, leased }: Account): number {
  return tokens.levelUnits + (heldTokens + leased.tokens) * UNITS_PER_TOKEN;
}

/** Tokens that this step settled here, heard of from leases, or wrote off. */
function usedSince(
  store: Store<Account>,
  scope: string,
  before: ReadonlyMap<string, Lease>,
  after: ReadonlyMap<string, Lease>,
): number {
  let used = 0;
  for (const { scopes, tokens } of store.settled) if (scopes.includes(scope)) used += tokens;
  for (const [holder, lease] of after) {
    const known = before.get(holder);
    const same = known?.id === lease.id ? known : undefined;
    used += lease.settled.tokens - (same?.settled.tokens ?? 0);
    check(!same || lease.granted.tokens >= same.granted.tokens, "I1", () => `a grant to ${holder} shrank`);
    check(!same || lease.settled.tokens >= same.settled.tokens, "I7", () => `${holder} unsettled tokens`);
    check(!same || lease.returned.tokens >= same.returned.tokens, "I7", () => `${holder} unreturned tokens`);
    if (same?.state === "open" && lease.state === "written_off") used += outstanding(same).tokens;
  }
  return used;
}
