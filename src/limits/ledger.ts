import { FIRST_STEP_TOKENS, START_DEADLINE_MS, UNREPORTED_GRACE_MS } from "../bounds.ts";
import { EVEN_WEIGHTS, type KeyRecord, keyBands, type Limits, type TenantRecord } from "../catalogue.ts";
import type { Usage } from "../contract/report.ts";
import { keyDenial, modelDenial } from "./access.ts";
import { type Ask, latest, wholeBudget } from "./account.ts";
import type { BudgetReport, ReserveAnswer, ReserveAsk } from "./messages.ts";
import type { Purse } from "./purse.ts";
import {
  awaited,
  difference,
  elected,
  holdAheadTokens,
  isHeardOf,
  isOver,
  isRacing,
  likelyWinner,
  owedTokens,
  type Reservation,
  reported,
  usageOf,
  usedTokens,
} from "./reservation.ts";
import { type WeightedSaved, weigh } from "./saved.ts";
import { affordableOutput, weighted, weightedUsage } from "./weights.ts";

/**
 * A tenant's ledger: pure transitions over what its scopes may spend and its reservations. A transition reads a book,
 * gets a message and the time, and returns what to write; it has no clock and touches nothing. The same code runs at a
 * tenant's home over accounts and elsewhere over leases (purse.ts). Budgets are in weighted tokens (weights.ts), by the
 * weights that each reservation was made with; usage is in the model's own.
 */
export interface Book<P> {
  readonly record: TenantRecord;
  readonly purse: Purse<P>;
  account(scope: string): P | undefined;
  reservation(id: string): Reservation | undefined;
}

/** What a transition writes, all of it or nothing. */
export interface Change<P> {
  readonly accounts: readonly P[];
  readonly reservation: Reservation;
  /** Usage that was not settled before this change. */
  readonly settled: Usage;
  /** True once per reservation: when its request is counted in the usage table. */
  readonly counted: boolean;
  readonly saved?: WeightedSaved;
}

export const NO_USAGE: Usage = { promptTokens: 0, cachedTokens: 0, outputTokens: 0 };

/** Admits a request under every limit of every scope it touches, or under none. */
export function reserve<P>(
  book: Book<P>,
  ask: ReserveAsk,
  nowMs: number,
): { answer: ReserveAnswer; change: Change<P> | null } {
  const key = book.record.keys.find((candidate) => candidate.id === ask.keyId);
  const denied = keyDenial(book.record, key, ask.secretHash, nowMs) ?? modelDenial(book.record, ask.model);
  if (denied) return { answer: { ok: false, failure: denied, standing: null }, change: null };
  const again = book.reservation(ask.requestId);
  const scopes = again ? again.scopes : scopesOf(book.record, key!, ask.endUser);
  const limits = scopes.map((scope) => limitsOf(book.record, scope));
  const accounts = scopes.map((scope, index) => accountAt(book, scope, limits[index]!, nowMs));
  const whole = Math.min(...limits.map(wholeBudget));
  if (again) return { answer: admitted(book, accounts, limits, again.heldTokens, ask, whole), change: null };
  const wanted = askedTokens(ask, whole);
  const { tokens } = wanted;
  const refusals = accounts.flatMap(
    (account, at) => book.purse.refusal(account, limits[at]!, wanted, nowMs) ?? [],
  );
  if (refusals.length > 0) {
    const failure = refusals.reduce(latest);
    return { answer: { ok: false, failure, standing: book.purse.standing(accounts, limits) }, change: null };
  }
  const after = accounts.map((account) => book.purse.admit(account, tokens));
  const reservation: Reservation = {
    id: ask.requestId,
    keyId: ask.keyId,
    scopes,
    model: ask.model,
    createdAtMs: nowMs,
    deadlineMs: nowMs + START_DEADLINE_MS + UNREPORTED_GRACE_MS,
    weights: ask.weights ?? EVEN_WEIGHTS,
    heldTokens: tokens,
    settledTokens: 0,
    attempts: [],
    state: "open",
    running: true,
  };
  return {
    answer: admitted(book, after, limits, tokens, ask, whole),
    change: { accounts: after, reservation, settled: NO_USAGE, counted: false },
  };
}

/**
 * Settles what a report adds and extends the hold for the next seconds. `stop` is true when nothing can be held
 * any more and the tenant's policy is to end such streams.
 */
export function report<P>(
  book: Book<P>,
  message: BudgetReport,
  nowMs: number,
): { change: Change<P>; stop: boolean } {
  const { purse } = book;
  const before = book.reservation(message.requestId) ?? unknownReservation(book.record, message, nowMs);
  const limits = before.scopes.map((scope) => limitsOf(book.record, scope));
  let accounts = before.scopes.map((scope, index) => accountAt(book, scope, limits[index]!, nowMs));
  // What nobody got yet is only held: should its replica fail, another makes the answer, which is paid for once.
  const unsent = message.unsent && !message.final;
  let after = unsent ? awaited(before, nowMs) : reported(before, message, nowMs);
  const fellTokens = usedTokens(before) - usedTokens(after);
  if (fellTokens > 0) throw new Error(`limits: usage of ${before.id} fell by ${fellTokens} tokens (I7)`);
  const settled = difference(usageOf(after), usageOf(before));
  const counted = before.state !== "settled" && isOver(after);
  let stop = false;
  if (before.state !== "open" || isOver(after)) {
    const state = (unsent || isRacing(after)) && before.state === "void" ? "void" : "settled";
    ({ accounts, reservation: after } = close(book, accounts, after, state));
  } else {
    ({ accounts, reservation: after } = settleOwed(book, accounts, after, owedTokens(after, false)));
    const unsentTokens = unsent ? weightedUsage([{ ...message.usage, final: true }], after.weights) : 0;
    // What the prompt costs more if it turns out not to have been cached is held until that is known.
    const heldBackTokens = owedTokens(after, true) - after.settledTokens + unsentTokens;
    const aheadTokens = weighted(0, holdAheadTokens(message.tokensPerSecond), after.weights);
    const wanted = Math.max(0, heldBackTokens + aheadTokens - after.heldTokens);
    const more = Math.min(
      ...accounts.map((account, index) => purse.extendable(account, limits[index]!, wanted, nowMs)),
    );
    if (more > 0) accounts = accounts.map((account) => purse.hold(account, more));
    after = { ...after, heldTokens: after.heldTokens + more };
    const nothingAhead = aheadTokens > 0 && after.heldTokens <= heldBackTokens;
    stop = book.record.tenant.overdraft === "stop" && nothingAhead;
  }
  const saved = counted ? weigh(message.saved, after.weights) : {};
  return { change: { accounts, reservation: after, settled, counted, ...saved }, stop };
}

/** The request no longer runs, its last report is still to come: frees its place among concurrent requests. */
export function finish<P>(book: Book<P>, requestId: string, nowMs: number): Change<P> | null {
  const before = book.reservation(requestId);
  if (!before?.running) return null;
  const accounts = accountsOf(book, before, nowMs).map(book.purse.leave);
  return { accounts, reservation: { ...before, running: false }, settled: NO_USAGE, counted: false };
}

/** Nothing more will run for it: gives back all that was not reported as used, and all if nothing was. */
export function cancel<P>(book: Book<P>, requestId: string, nowMs: number): Change<P> | null {
  const before = book.reservation(requestId);
  if (before?.state !== "open") return null;
  const heardOf = isHeardOf(before);
  const closed = close(book, accountsOf(book, before, nowMs), before, heardOf ? "settled" : "void");
  return { ...closed, settled: NO_USAGE, counted: heardOf };
}

/** Ends a reservation whose deadline passed: void if no gate ever reported on it, else settled as reported. */
export function expire<P>(book: Book<P>, requestId: string, nowMs: number): Change<P> | null {
  const open = book.reservation(requestId);
  if (open?.state !== "open" || open.deadlineMs > nowMs) return null;
  // The edge died before it could say who made the answer.
  const winner = likelyWinner(open);
  const before = winner === null ? open : (elected(open, winner) ?? open);
  const heardOf = isHeardOf(before);
  const closed = close(book, accountsOf(book, before, nowMs), before, heardOf ? "settled" : "void");
  return { ...closed, settled: difference(usageOf(before), usageOf(open)), counted: heardOf };
}

export function limitsOf(record: TenantRecord, scope: string): Limits {
  if (scope === "tenant") return record.tenant.limits;
  if (scope.startsWith("user:")) return record.tenant.endUserLimits;
  return record.keys.find((key) => `key:${key.id}` === scope)?.limits ?? {};
}

/** Brings what is settled of a reservation to `owed`: out of what it holds as far as that goes. */
export function settleOwed<P>(
  { purse }: Book<P>,
  accounts: readonly P[],
  reservation: Reservation,
  owed: number,
): { accounts: P[]; reservation: Reservation } {
  const newTokens = Math.max(0, owed - reservation.settledTokens);
  const fromHeld = Math.min(newTokens, reservation.heldTokens);
  const heldTokens = reservation.heldTokens - fromHeld;
  const settledTokens = reservation.settledTokens + newTokens;
  return {
    accounts: accounts.map((account) => purse.settle(account, newTokens, fromHeld)),
    reservation: { ...reservation, heldTokens, settledTokens },
  };
}

/**
 * Ends a reservation: all that was reported is settled, what it still holds is free again, and its request counts, unless
 * nothing ever ran for it (it was open and is void now). A reservation that was closed before holds nothing, so closing
 * it again settles what is new and changes nothing else.
 */
export function close<P>(
  book: Book<P>,
  before: readonly P[],
  open: Reservation,
  state: "settled" | "void",
): { accounts: P[]; reservation: Reservation } {
  const { purse } = book;
  const { accounts, reservation } = settleOwed(book, before, open, owedTokens(open, true));
  const { heldTokens, running } = reservation;
  const wasOpen = reservation.state === "open";
  return {
    accounts: accounts.map((account) => {
      const released = purse.release(account, heldTokens);
      const left = running ? purse.leave(released) : released;
      return wasOpen ? purse.endRequest(left, state === "settled") : left;
    }),
    reservation: { ...reservation, heldTokens: 0, running: false, state },
  };
}

/** The prompt and a first step of output, within the smallest whole budget. */
function askedTokens(ask: ReserveAsk, whole: number): Ask {
  const weights = ask.weights ?? EVEN_WEIGHTS;
  const choices = ask.generates ? ask.choices : 0;
  const leastTokens = weighted(ask.promptTokens, choices, weights);
  const firstStep = choices * Math.min(ask.maxOutputTokens ?? Infinity, FIRST_STEP_TOKENS);
  const tokens = Math.max(leastTokens, Math.min(weighted(ask.promptTokens, firstStep, weights), whole));
  return { tokens, leastTokens };
}

/** Scopes without any limit have no account, and so no row. */
function scopesOf(record: TenantRecord, key: KeyRecord, endUser: string | null): string[] {
  const scopes = ["tenant"];
  if (Object.keys(key.limits).length > 0) scopes.push(`key:${key.id}`);
  if (endUser !== null && Object.keys(record.tenant.endUserLimits).length > 0) scopes.push(`user:${endUser}`);
  return scopes;
}

function accountAt<P>(book: Book<P>, scope: string, limits: Limits, nowMs: number): P {
  const { purse } = book;
  return purse.at(book.account(scope) ?? purse.fresh(scope, limits, nowMs), limits, nowMs);
}

export function accountsOf<P>(book: Book<P>, reservation: Reservation, nowMs: number): P[] {
  return reservation.scopes.map((scope) => accountAt(book, scope, limitsOf(book.record, scope), nowMs));
}

/** A report may outlive its row (kept 2 h) or meet a restored object: it settles all the same, as overdraft. */
function unknownReservation(record: TenantRecord, message: BudgetReport, nowMs: number): Reservation {
  const key = record.keys.find((candidate) => candidate.id === message.keyId);
  return {
    id: message.requestId,
    keyId: message.keyId,
    scopes: key ? scopesOf(record, key, null) : ["tenant"],
    model: message.model,
    createdAtMs: nowMs,
    deadlineMs: nowMs,
    weights: EVEN_WEIGHTS,
    heldTokens: 0,
    settledTokens: 0,
    attempts: [],
    state: "void",
    running: false,
  };
}

function admitted<P>(
  book: Book<P>,
  accounts: readonly P[],
  limits: readonly Limits[],
  reservedTokens: number,
  ask: ReserveAsk,
  whole: number,
): ReserveAnswer {
  const { tenant } = book.record;
  const weights = ask.weights ?? EVEN_WEIGHTS;
  const perChoice = affordableOutput(whole, ask.promptTokens, ask.choices, weights);
  return {
    ok: true,
    reservedTokens,
    outputCapTokens: ask.generates && Number.isFinite(perChoice) ? Math.max(1, perChoice) : null,
    finishEagerly: accounts.some((account, index) => {
      const limit = limits[index]!.concurrentRequests;
      return limit !== undefined && book.purse.open(account) * 2 >= limit;
    }),
    standing: book.purse.standing(accounts, limits),
    // The object that holds the reservation says so itself, and whether a lease is due.
    at: tenant.homeHint,
    leaseHere: false,
    mode: "home",
    profile: {
      tenantId: tenant.id,
      version: tenant.version,
      homeHint: tenant.homeHint,
      regions: tenant.regions ?? null,
      bands: keyBands(book.record.keys.find(({ id }) => id === ask.keyId) ?? {}),
      responseCache: tenant.responseCache ?? false,
    },
  };
}
