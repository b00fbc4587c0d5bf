import {
  abortAllDurableObjects,
  evictDurableObject,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import fc from "fast-check";
import { afterEach, describe, test, vi } from "vitest";
import type { Weights } from "../../src/catalogue.ts";
import { budgetName, homeOf, type TenantBudgetStub } from "../../src/durable/stub.ts";
import type { Env } from "../../src/env.ts";
import { closeBlock, expireBlock, grantBlock } from "../../src/limits/block.ts";
import { cancel, expire, finish, report, reserve } from "../../src/limits/ledger.ts";
import type { BudgetReport } from "../../src/limits/messages.ts";
import { elect, race } from "../../src/limits/race.ts";
import { ASK, MemoryBook, tenantRecord } from "../support/tenant.ts";

/**
 * The same commands to a real object and to the pure core over a book in memory, under one clock, while the object is
 * evicted and aborted in between: every answer and all rows must be the same.
 */
const env = bindings as unknown as Env;
const START_MS = 1_800_000_000_000;
const RUNS = 40;
const WEIGHED: Weights = { input: 500, cachedInput: 100, output: 2_000 };
const LIMITS = {
  tokensPerMinute: 200_000,
  tokensPerDay: 4_000_000,
  requestsPerMinute: 1_000,
  concurrentRequests: 1_000,
};

let nowMs = START_MS;
afterEach(() => {
  vi.restoreAllMocks();
});

const id = fc.nat(9).map((number) => `r${number}`);
const block = fc.nat(2).map((number) => `b${number}`);
// What goes to an object must have an ordinary prototype.
const claim = fc.option(
  fc.tuple(block, fc.nat(400)).map(([id, tokens]) => ({ id, tokens })),
  { nil: undefined },
);
const endUser = fc.constantFrom(null, "one", "other");
const command = fc.oneof(
  fc.record({ kind: fc.constant("reserve" as const), id, promptTokens: fc.nat(2_000), endUser }),
  fc.record({
    kind: fc.constant("report" as const),
    ...{ id, claim, attempt: fc.nat(1), promptTokens: fc.nat(900), outputTokens: fc.nat(900) },
    ...{ final: fc.boolean(), unsent: fc.boolean() },
  }),
  fc.record({ kind: fc.constant("cancel" as const), id, claim }),
  fc.record({ kind: fc.constant("finish" as const), id, claim }),
  fc.record({ kind: fc.constant("race" as const), id, claim }),
  fc.record({ kind: fc.constant("elect" as const), id, winner: fc.nat(1) }),
  fc.record({ kind: fc.constant("grant" as const), block, requests: fc.integer({ min: 1, max: 12 }) }),
  fc.record({ kind: fc.constant("told" as const), block, requests: fc.nat(12) }),
  fc.record({ kind: fc.constant("pass" as const), ms: fc.constantFrom(1, 900, 20_000, 95_000, 150_000) }),
  fc.record({ kind: fc.constant("tidy" as const) }),
  fc.record({ kind: fc.constant("evict" as const) }),
  fc.record({ kind: fc.constant("abort" as const) }),
);
type Command = typeof command extends fc.Arbitrary<infer C> ? C : never;

function said(one: Extract<Command, { kind: "report" }>): BudgetReport {
  const { attempt, final, outputTokens, promptTokens, unsent } = one;
  const usage = { promptTokens, cachedTokens: Math.floor(promptTokens / 3), outputTokens };
  const message = { requestId: one.id, keyId: ASK.keyId, model: "m", attempt, usage, final, unsent };
  return { ...message, tokensPerSecond: 50, ...(one.claim ? { block: one.claim } : {}) };
}

const asked = (one: Extract<Command, { kind: "grant" }>) => ({
  ...({ id: one.block, from: "enam", keyId: ASK.keyId, secretHash: ASK.secretHash, model: "m" } as const),
  ...{ weights: WEIGHED, requests: one.requests, tokens: one.requests * 300 },
});

/** What the pure core answers; what it writes is in the book then. */
function model(book: MemoryBook, one: Command): unknown {
  switch (one.kind) {
    case "reserve": {
      const ask = { ...ASK, requestId: one.id, promptTokens: one.promptTokens, endUser: one.endUser };
      const { answer, change } = reserve(book, ask, nowMs);
      book.apply(change);
      return answer;
    }
    case "report": {
      const { change, stop } = report(book, said(one), nowMs);
      book.apply(change);
      return { stop: stop ? [one.id] : [] };
    }
    case "cancel":
      return book.apply(cancel(book, one.id, nowMs, one.claim));
    case "finish":
      return book.apply(finish(book, one.id, nowMs, one.claim));
    case "race": {
      const change = race(book, one.id, [0, 1], nowMs, one.claim);
      book.apply(change);
      return change !== null;
    }
    case "elect":
      return book.apply(elect(book, one.id, one.winner, nowMs));
    case "grant": {
      const { answer, change } = grantBlock(book, asked(one), nowMs);
      book.applyBlock(change);
      return answer;
    }
    case "told": {
      const told = { id: one.block, requests: one.requests, tokens: one.requests * 300 };
      book.applyBlock(closeBlock(book, told, nowMs));
      return { ok: false, failure: null };
    }
    case "tidy":
      for (const known of book.blocks.keys()) book.applyBlock(expireBlock(book, known, nowMs));
      for (const known of book.reservations.keys()) book.apply(expire(book, known, nowMs));
      return undefined;
    default:
      return undefined;
  }
}

/** What the object answers. A stub breaks with its object, so each command takes a new one. */
async function real(name: string, one: Command): Promise<unknown> {
  const stub = env.TENANT_BUDGET.getByName(name);
  const budget = stub as unknown as TenantBudgetStub;
  switch (one.kind) {
    case "reserve":
      return budget.reserve({
        ...ASK,
        requestId: one.id,
        promptTokens: one.promptTokens,
        endUser: one.endUser,
      });
    case "report":
      return budget.report([said(one)]);
    case "cancel":
      return budget.cancel(one.id, one.claim);
    case "finish":
      return budget.finish(one.id, one.claim);
    case "race":
      return budget.race(one.id, [0, 1], one.claim);
    case "elect":
      return budget.elect(one.id, one.winner);
    case "grant":
      return budget.blocks(asked(one), []);
    case "told":
      return budget.blocks(null, [{ id: one.block, requests: one.requests, tokens: one.requests * 300 }]);
    case "tidy":
      await runDurableObjectAlarm(stub);
      return undefined;
    case "evict":
      // After another one it has no memory to lose.
      return evictDurableObject(stub).catch(() => undefined);
    case "abort":
      return abortAllDurableObjects();
    default:
      return undefined;
  }
}

/** All that the object has written, in the words of the core. */
async function rows(name: string) {
  return runInDurableObject(env.TENANT_BUDGET.getByName(name), (_, { storage }) => {
    const all = (query: string) => storage.sql.exec(query).toArray();
    return {
      accounts: all(
        "SELECT scope, json_extract(body, '$.heldTokens') AS heldTokens, " +
          "json_extract(body, '$.heldRequests') AS heldRequests, json_extract(body, '$.slotTokens') AS slotTokens, " +
          "json_extract(body, '$.tokens.levelUnits') AS levelUnits, open FROM accounts WHERE scope NOT LIKE 'user:%' ORDER BY scope",
      ),
      reservations: all(
        "SELECT id, held_tokens AS heldTokens, settled_tokens AS settledTokens, state, " +
          "running FROM reservations ORDER BY id",
      ),
      blocks: all("SELECT body FROM blocks ORDER BY id").map(({ body }) => JSON.parse(String(body))),
    };
  });
}

function expected(book: MemoryBook) {
  const byName = <Row extends { id?: string; scope?: string }>(one: Row, other: Row) =>
    (one.scope ?? one.id)! < (other.scope ?? other.id)! ? -1 : 1;
  return {
    // Accounts of end users that are as good as new are swept.
    accounts: [...book.accounts.values()]
      .filter(({ scope }) => !scope.startsWith("user:"))
      .sort(byName)
      .map((account) => ({
        ...{ scope: account.scope, heldTokens: account.heldTokens, heldRequests: account.heldRequests },
        ...{ slotTokens: account.day.slotTokens, levelUnits: account.tokens.levelUnits, open: account.open },
      })),
    reservations: [...book.reservations.values()].sort(byName).map((one) => ({
      ...{ id: one.id, heldTokens: one.heldTokens, settledTokens: one.settledTokens, state: one.state },
      running: one.running ? 1 : 0,
    })),
    blocks: [...book.blocks.values()].sort(byName),
  };
}

describe("a real object and the pure core", () => {
  test("answer and write the same, whatever they are told and however the object loses its memory", {
    timeout: 60_000,
  }, async ({ expect }) => {
    vi.spyOn(Date, "now").mockImplementation(() => nowMs);
    const record = tenantRecord(LIMITS, {
      key: { limits: { tokensPerMinute: 150_000 } },
      endUserLimits: { tokensPerMinute: 5_000 },
    });
    let counted = { commands: 0, admitted: 0, granted: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(command, { minLength: 10, maxLength: 40 }), async (commands) => {
        nowMs = START_MS;
        const name = budgetName(homeOf(crypto.randomUUID().slice(0, 11), "enam"));
        await (env.TENANT_BUDGET.getByName(name) as unknown as TenantBudgetStub).configure(record);
        const book = new MemoryBook(record);
        for (const one of commands) {
          if (one.kind === "pass") nowMs += one.ms;
          const answer = await real(name, one);
          const wanted = model(book, one);
          expect(answer ?? null, JSON.stringify(one)).toEqual(wanted ?? null);
          const ok = typeof answer === "object" && answer !== null && "ok" in answer && answer.ok;
          counted = {
            commands: counted.commands + 1,
            admitted: counted.admitted + (ok && one.kind === "reserve" ? 1 : 0),
            granted: counted.granted + (ok && one.kind === "grant" ? 1 : 0),
          };
        }
        expect(await rows(name)).toEqual(expected(book));
      }),
      { numRuns: RUNS },
    );
    // Else it would compare refusals with refusals.
    expect(counted.admitted).toBeGreaterThan(RUNS);
    expect(counted.granted).toBeGreaterThan(RUNS / 4);
  });
});
