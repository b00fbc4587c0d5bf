import { minus } from "../../src/limits/lease.ts";
import { free, type LeaseAccount } from "../../src/limits/lease-holder.ts";
import type { Lease } from "../../src/limits/lease-home.ts";
import { hasRun } from "../../src/limits/reservation.ts";
import type { Store } from "./store.ts";
import { check } from "./violation.ts";

/** Watches one holder: it spends what it was granted, and says so. */
export class HolderGhost {
  readonly #holder: string;
  readonly #seen = new Map<string, LeaseAccount>();
  readonly #known = new Set<string>();

  constructor(holder: string) {
    this.#holder = holder;
  }

  step(store: Store<LeaseAccount>, atHome: (scope: string) => Lease | undefined): void {
    // What leaves a block was admitted with the block; what is admitted on trust rests on no lease.
    const fresh = [...store.touched].filter((id) => !this.#known.has(id));
    const claimed = store.touchedBlocks.size > 0;
    const admitted = claimed ? [] : fresh.filter((id) => !store.onTrust.has(id));
    const blocks = [...store.touchedBlocks].filter((id) => !this.#known.has(id));
    for (const scope of store.scopes()) {
      const after = store.account(scope)!;
      const before = this.#seen.get(scope);
      if (after === before) continue;
      this.#held(store, after);
      if (before?.lease === after.lease) this.#moves(store, before, after);
      const lease = atHome(scope);
      if (lease?.id === after.lease) this.#agrees(lease, after);
      for (const id of admitted) {
        const { scopes, state } = store.reservation(id)!;
        if (scopes.includes(scope) && state === "open") this.#admits(after, lease);
      }
      for (const id of blocks) {
        const { scopes, state } = store.block(id)!;
        if (scopes.includes(scope) && state === "open") this.#admits(after, lease);
      }
      this.#seen.set(scope, after);
    }
    for (const id of [...fresh, ...blocks]) this.#known.add(id);
  }

  /** I6: what an object knows when it comes back is what it knew. */
  returned(store: Store<LeaseAccount>): void {
    for (const [scope, account] of this.#seen) {
      const now = store.account(scope);
      const same = JSON.stringify(now) === JSON.stringify(account);
      check(same, "I6", () => `${this.#holder} forgot its lease of ${scope}`);
      if (now) this.#seen.set(scope, now);
    }
  }

  /** Tokens that running requests hold beyond what is left of the grant: overrun that the home has not heard of. */
  overdraftTokens(scope: string): number {
    const account = this.#seen.get(scope);
    return account ? Math.max(0, -free(account).tokens) : 0;
  }

  /** I1: drawn = settled + held by open reservations. */
  #held(store: Store<LeaseAccount>, account: LeaseAccount): void {
    let tokens = 0;
    let requests = 0;
    let open = 0;
    for (const id of new Set([...store.live, ...store.touchedBlocks])) {
      const block = store.block(id)!;
      if (!block.scopes.includes(account.scope)) continue;
      tokens += block.heldTokens;
      requests += block.heldRequests;
      open += block.heldRequests;
    }
    for (const id of new Set([...store.open, ...store.touched])) {
      const reservation = store.reservation(id)!;
      if (!reservation.scopes.includes(account.scope)) continue;
      tokens += reservation.heldTokens;
      requests += reservation.state === "open" && !hasRun(reservation) ? 1 : 0;
      open += reservation.running ? 1 : 0;
    }
    const same = account.heldTokens === tokens && account.heldRequests === requests && account.open === open;
    const { heldTokens, heldRequests } = account;
    check(same, "I1", () => {
      return `${this.#holder} holds ${heldTokens}/${heldRequests}/${account.open}, not ${tokens}/${requests}/${open}`;
    });
  }

  #moves(store: Store<LeaseAccount>, before: LeaseAccount, after: LeaseAccount): void {
    let settled = 0;
    for (const { scopes, tokens } of store.settled) if (scopes.includes(after.scope)) settled += tokens;
    const told = after.settled.tokens - before.settled.tokens;
    check(told === settled, "I7", () => `${this.#holder} settled ${settled} tokens and counts ${told}`);
    check(after.returned.tokens >= before.returned.tokens, "I7", () => `${this.#holder} took back a return`);
    const gave = minus(after.returned, before.returned);
    const left = free(after);
    for (const kind of ["tokens", "requests", "slots"] as const) {
      check(
        // On trust what is free is given up first, and then held beyond it.
        gave[kind] === 0 || left[kind] >= 0 || store.onTrust.size > 0,
        "I1",
        () => `${this.#holder} returned ${kind} that it holds`,
      );
    }
    check(after.sequence >= before.sequence, "I7", () => `${this.#holder} reused a sequence number`);
  }

  /** I5: the home never believes that less is outstanding than there is. */
  #agrees(lease: Lease, account: LeaseAccount): void {
    const ahead = (kind: "tokens" | "requests" | "slots") =>
      lease.granted[kind] >= account.granted[kind] &&
      lease.settled[kind] <= account.settled[kind] &&
      lease.returned[kind] <= account.returned[kind];
    check(ahead("tokens") && ahead("requests") && ahead("slots"), "I5", () => {
      return `${this.#holder} and home disagree: ${JSON.stringify(account)}, ${JSON.stringify(lease)}`;
    });
  }

  #admits(account: LeaseAccount, lease: Lease | undefined): void {
    const left = free(account);
    check(left.tokens >= 0 && left.requests >= 0 && left.slots >= 0, "I1", () => {
      return `${this.#holder} admitted beyond its lease: ${JSON.stringify(left)}`;
    });
    check(lease?.id === account.lease && lease.state === "open", "I2", () => {
      return `${this.#holder} admitted on lease ${account.lease}, which the home has counted as spent`;
    });
  }
}
