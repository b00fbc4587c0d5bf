import { START_DEADLINE_MS, UNREPORTED_GRACE_MS } from "../bounds.ts";
import { EVEN_WEIGHTS, type Limits } from "../catalogue.ts";
import { holdsAll, keyDenial, modelDenial } from "./access.ts";
import { latest, wholeBudget } from "./account.ts";
import { askedTokens, mostTokens, outputCap } from "./asked.ts";
import { type Block, claimed } from "./block.ts";
import {
  accountAt,
  accountsOf,
  type Book,
  type Change,
  limitsOf,
  NO_USAGE,
  profileOf,
  scopesOf,
} from "./book.ts";
import type { BlockClaim, BudgetReport, ReserveAnswer, ReserveAsk } from "./messages.ts";
import {
  awaited,
  difference,
  hasRun,
  holdAheadTokens,
  isHeardOf,
  isOver,
  isRacing,
  owedTokens,
  presumed,
  type Reservation,
  reported,
  usageOf,
  usedTokens,
} from "./reservation.ts";
import { weigh } from "./saved.ts";
import { weighted, weightedUsage } from "./weights.ts";

/**
 * A tenant's ledger: pure transitions over what its scopes may spend and its reservations. A transition reads a book,
 * gets a message and the time, and returns what to write; it has no clock and touches nothing. The same code runs at a
 * tenant's home over accounts and elsewhere over leases (purse.ts). Budgets are in weighted tokens (weights.ts), by the
 * weights that each reservation was made with; usage is in the model's own.
 */

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
  const refusals = accounts.flatMap(
    (account, at) => book.purse.refusal(account, limits[at]!, wanted, nowMs) ?? [],
  );
  if (refusals.length > 0) {
    const failure = refusals.reduce(latest);
    return { answer: { ok: false, failure, standing: book.purse.standing(accounts, limits) }, change: null };
  }
  const rooms = accounts.map((account, at) => book.purse.room(account, limits[at]!, nowMs).tokens);
  const tokens = holdsAll(book.record, ask, whole)
    ? Math.max(wanted.tokens, Math.min(mostTokens(ask, whole), ...rooms))
    : wanted.tokens;
  const after = accounts.map((account) => book.purse.admit(account, tokens, 1));
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
    paceTokensPerSecond: 0,
    attempts: [],
    state: "open",
    running: true,
  };
  return {
    answer: admitted(book, after, limits, tokens, ask, whole),
    change: { accounts: after, reservation, block: null, settled: NO_USAGE, counted: false },
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
  const known = found(book, message.requestId, message.block, nowMs);
  const before = known?.reservation ?? unknownReservation(book, message, nowMs);
  const limits = before.scopes.map((scope) => limitsOf(book.record, scope));
  let accounts = before.scopes.map((scope, index) => accountAt(book, scope, limits[index]!, nowMs));
  // What nobody got yet is only held: should its replica fail, another makes the answer, which is paid for once.
  const unsent = message.unsent && !message.final;
  let after = unsent ? awaited(before, message.attempt, nowMs) : reported(before, message, nowMs);
  // Its deadline passed before anything was heard of those that race: whoever is heard of first made the answer.
  if (before.state !== "open" && nowMs >= before.deadlineMs) after = presumed(after);
  const fellTokens = usedTokens(before) - usedTokens(after);
  if (fellTokens > 0) throw new Error(`limits: usage of ${before.id} fell by ${fellTokens} tokens (I7)`);
  const settled = difference(usageOf(after), usageOf(before));
  // It ran: from now on its request refills.
  const firstHeardOf = before.state === "open" && !hasRun(before) && hasRun(after);
  if (firstHeardOf) accounts = accounts.map((account) => purse.endRequest(account, true, 1));

  let stop = false;
  if (before.state !== "open" || isOver(after)) {
    const state = (unsent || isRacing(after)) && before.state === "void" ? "void" : "settled";
    ({ accounts, reservation: after } = close(book, accounts, after, state));
  } else {
    ({ accounts, reservation: after } = settleOwed(book, accounts, after, owedTokens(after, false)));
    const unsentTokens = unsent ? weightedUsage([{ ...message.usage, final: true }], after.weights) : 0;
    // What the prompt costs more if it turns out not to have been cached is held until that is known.
    // So is what one of two that race is going to be charged.
    const heldBackTokens = owedTokens(presumed(after), true) - after.settledTokens + unsentTokens;
    const aheadTokens = weighted(0, holdAheadTokens(message.tokensPerSecond), after.weights);
    const wanted = Math.max(0, heldBackTokens + aheadTokens - after.heldTokens);
    const more = Math.min(
      ...accounts.map((account, index) => purse.extendable(account, limits[index]!, wanted, nowMs)),
    );
    if (more > 0) accounts = accounts.map((account) => purse.hold(account, more));
    const paceTokensPerSecond = before.running ? weighted(0, message.tokensPerSecond, after.weights) : 0;
    accounts = accounts.map((account) =>
      purse.repace(account, before.paceTokensPerSecond, paceTokensPerSecond),
    );
    after = { ...after, heldTokens: after.heldTokens + more, paceTokensPerSecond };
    const nothingAhead = aheadTokens > 0 && after.heldTokens <= heldBackTokens;
    stop = book.record.tenant.overdraft === "stop" && nothingAhead;
  }
  // Also of one that was void before it was heard of: its first report may be one of many.
  const counted = before.state !== "settled" && after.state === "settled";
  const saved = counted ? weigh(message.saved, after.weights) : {};
  const block = known?.block ?? null;
  return { change: { accounts, reservation: after, block, settled, counted, ...saved }, stop };
}

/** The request no longer runs, its last report is still to come: frees its place among concurrent requests. */
export function finish<P>(
  book: Book<P>,
  requestId: string,
  nowMs: number,
  claim?: BlockClaim,
): Change<P> | null {
  const known = found(book, requestId, claim, nowMs);
  if (!known?.reservation.running) return null;
  const { reservation: before, block } = known;
  const accounts = accountsOf(book, before, nowMs).map((account) =>
    book.purse.repace(book.purse.leave(account, 1), before.paceTokensPerSecond, 0),
  );
  const reservation = { ...before, running: false, paceTokensPerSecond: 0 };
  return { accounts, reservation, block, settled: NO_USAGE, counted: false };
}

/** Nothing more will run for it: gives back all that was not reported as used, and all if nothing was. */
export function cancel<P>(
  book: Book<P>,
  requestId: string,
  nowMs: number,
  claim?: BlockClaim,
): Change<P> | null {
  const known = found(book, requestId, claim, nowMs);
  if (known?.reservation.state !== "open") return null;
  return { ...closed(book, known.reservation, nowMs), block: known.block };
}

/** Ends a reservation whose deadline passed: void if no gate ever reported on it, else settled as reported. */
export function expire<P>(book: Book<P>, requestId: string, nowMs: number): Change<P> | null {
  const open = book.reservation(requestId);
  if (open?.state !== "open" || open.deadlineMs > nowMs) return null;
  // The edge died before it could say who made the answer. Where nothing was heard of either, a late report decides.
  // Its time is over for good, also for a clock that steps back.
  const before = { ...presumed(open), deadlineMs: 0 };
  return { ...closed(book, before, nowMs), settled: difference(usageOf(before), usageOf(open)) };
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
 * Ends a reservation: all that was reported is settled, what it still holds is free again, and so is its request if
 * nothing ever ran for it. A reservation that was closed before holds nothing, so closing
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
  const { heldTokens, paceTokensPerSecond, running } = reservation;
  const neverRan = reservation.state === "open" && !hasRun(reservation);
  return {
    accounts: accounts.map((account) => {
      const released = purse.release(account, heldTokens);
      const left = purse.repace(running ? purse.leave(released, 1) : released, paceTokensPerSecond, 0);
      if (neverRan) return purse.endRequest(left, false, 1);
      return reservation.state === "open" ? purse.learn(left, reservation.settledTokens) : left;
    }),
    reservation: { ...reservation, heldTokens: 0, paceTokensPerSecond: 0, running: false, state },
  };
}

function closed<P>(book: Book<P>, before: Reservation, nowMs: number): Change<P> {
  const heardOf = isHeardOf(before);
  const after = close(book, accountsOf(book, before, nowMs), before, heardOf ? "settled" : "void");
  return { ...after, block: null, settled: NO_USAGE, counted: heardOf };
}

/** A reservation by its id, or taken out of the block that it was admitted from. */
export function found<P>(
  book: Book<P>,
  requestId: string,
  claim: BlockClaim | undefined,
  nowMs: number,
): { readonly reservation: Reservation; readonly block: Block | null } | null {
  const reservation = book.reservation(requestId);
  if (reservation) return { reservation, block: null };
  return claimed(book, requestId, claim, nowMs);
}

/** A report may outlive its row (kept 2 h) or its block, or meet a restored object: it settles all the same, as debt. */
function unknownReservation<P>(book: Book<P>, message: BudgetReport, nowMs: number): Reservation {
  const { record } = book;
  const weights = message.block && book.block(message.block.id)?.weights;
  const key = record.keys.find((candidate) => candidate.id === message.keyId);
  return {
    id: message.requestId,
    keyId: message.keyId,
    scopes: key ? scopesOf(record, key, null) : ["tenant"],
    model: message.model,
    createdAtMs: nowMs,
    deadlineMs: nowMs,
    weights: weights ?? EVEN_WEIGHTS,
    heldTokens: 0,
    settledTokens: 0,
    paceTokensPerSecond: 0,
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
  return {
    ok: true,
    reservedTokens,
    outputCapTokens: outputCap(
      ask,
      holdsAll(book.record, ask, whole) ? Math.min(reservedTokens, whole) : whole,
    ),
    finishEagerly: accounts.some((account, index) => {
      const limit = limits[index]!.concurrentRequests;
      return limit !== undefined && book.purse.open(account) * 2 >= limit;
    }),
    standing: book.purse.standing(accounts, limits),
    // The object that holds the reservation says so itself, and whether a lease is due.
    at: tenant.homeHint,
    leaseHere: false,
    mode: "home",
    profile: profileOf(book.record, ask.keyId),
  };
}
