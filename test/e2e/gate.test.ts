import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { REPORT_MAX_BYTES, TICKET_VALID_MS } from "../../src/bounds.ts";
import { macKey } from "../../src/contract/encoding.ts";
import { signReport, type UsageReport } from "../../src/contract/report.ts";
import { settledUsage } from "../support/books.ts";
import {
  batch,
  CHAT,
  callGate,
  type Gatekeeper,
  gatekeeper,
  POOL,
  sendBatch,
} from "../support/gatekeeper.ts";
import { expectRefusal } from "../support/refusals.ts";
import { rawPost, sendRaw } from "../support/socket.ts";
import { type TestStack, testStack } from "../support/stack.ts";

/** Between edge and gate nobody is believed: not whoever reaches a gate, not whoever reports to the edge. */
let stack: TestStack;
let keeper: Gatekeeper;
let acme: string;
let globex: string;
let stranger: CryptoKey;
beforeAll(async () => {
  stack = await testStack({ simArgs: ["--speed", "10"] });
  keeper = gatekeeper(stack);
  [acme, globex] = [await stack.tenant("acme", {}), await stack.tenant("globex", {})];
  stranger = await macKey("the secret of another deployment");
});
afterAll(() => stack?.end());

/** The text with another character at one place, for each place. */
function changed(text: string): string[] {
  return [...text].map((char, at) => `${text.slice(0, at)}${char === "A" ? "B" : "A"}${text.slice(at + 1)}`);
}

const NOTHING = { promptTokens: 0, cachedTokens: 0, outputTokens: 0, requests: 0 };
const chargedTo = async (tenant: string) => (await stack.usage(tenant)).totals;

type Token = readonly [name: string, token: () => Promise<string | null>, status: number];
const poolKey = (pool: string, version?: number) => keeper.poolKey(pool, version);
const BAD_TOKENS: readonly Token[] = [
  ["none", async () => null, 401],
  ["an empty one", async () => "", 401],
  ["a word", async () => "token", 401],
  ["three parts", async () => `${await keeper.token(acme)}.x`, 401],
  ["no signature", async () => `${(await keeper.token(acme)).split(".")[0]}.`, 401],
  ["the tenant's key", async () => acme, 401],
  ["one signed by another pool", async () => keeper.token(acme, {}, await poolKey("eu-west")), 401],
  ["one signed by another deployment", () => keeper.token(acme, {}, stranger), 401],
  ["one signed as a ticket is", async () => keeper.token(acme, {}, await keeper.ticketKey()), 401],
  [
    "one of a later secret",
    async () => keeper.token(acme, { secretVersion: 2 }, await poolKey(POOL, 2)),
    401,
  ],
  ["an expired one", () => keeper.token(acme, { startByMs: Date.now() - 1 }), 401],
  ["one that is good for too long", () => keeper.token(acme, { startByMs: Date.now() + 600_000 }), 401],
  ["one for another pool", () => keeper.token(acme, { pool: "eu-west" }), 403],
  ["another pool's own", async () => keeper.token(acme, { pool: "eu-west" }, await poolKey("eu-west")), 401],
  ["one for another path", () => keeper.token(acme, { path: "/v1/completions" }), 403],
  ["one for a path of engines", () => keeper.token(acme, { path: "/invocations" }), 403],
  ["one with a line break in its id", () => keeper.token(acme, { requestId: "a\r\nx-a: b" }), 401],
  ["one without a ticket", () => keeper.token(acme, { ticket: "" }), 401],
  ["one without a path", () => keeper.token(acme, { path: null as never }), 401],
];

describe("a gate refuses", () => {
  const untouched = async () => {
    expect(await chargedTo("acme")).toEqual(NOTHING);
    expect((await stack.ledgers()).entries).toEqual([]);
  };
  const unauthorized = async (response: Response, status: number) => {
    const body = { error: { message: "Not authorized.", code: "not_authorized" } };
    expect([response.status, await response.json()]).toMatchObject([status, body]);
    expect(response.headers.get("x-meridian-retryable")).toBe("no");
  };

  it.each(BAD_TOKENS)("%s", async (_name, token, status) => {
    await unauthorized(await callGate(stack, await token()), status);
    await untouched();
  });

  it("a good one with one character changed anywhere", async () => {
    const wrong = changed(await keeper.token(acme));
    expect(wrong.length).toBeGreaterThan(500);
    for (const token of wrong) await unauthorized(await callGate(stack, token), 401);
    await untouched();
  });

  it.each([
    ["of another pool", () => "eu-west-0"],
    ["that is none", () => "us-east-9"],
    ["that is an address", () => stack.info.regions[0]!.replicas[0]!.url],
    ["that is a way out", () => "../us-east-0"],
  ])("a replica %s; the edge may try another", async (_name, replica) => {
    const response = await callGate(stack, await keeper.token(acme, { replica: replica() }));
    expect([response.status, response.headers.get("x-meridian-retryable")]).toEqual([502, "yes"]);
    await untouched();
  });

  const PATHS = [
    ...[
      "/invocations",
      "/tokenize",
      "/detokenize",
      "/pooling",
      "/v1/models",
      "/v1/load_lora_adapter",
      "/sleep",
    ],
    ...["/v1/chat/completions/", "/v1/chat/completions?x=1", "//v1/chat/completions", "/V1/chat/completions"],
    ...[
      "/v1/x/../chat/completions",
      "/v1/x/%2e%2e/chat/completions",
      "/v1/chat%2fcompletions",
      "/_sim/faults",
    ],
  ];
  it.each(PATHS)("%s, also with a good token", async (path) => {
    const port = Number(new URL(stack.info.regions[0]!.gateUrl).port);
    const token = `x-meridian-token: ${await keeper.token(acme, { path })}\r\n`;
    const answer = await sendRaw(port, rawPost(path, acme, { model: "sim-chat" }, token));
    expect([answer.status, JSON.parse(answer.text)]).toMatchObject([404, { error: { code: "unknown_url" } }]);
    await untouched();
  });

  it("a good token but for the path that it was made for, and more than once", async () => {
    const requestId = "req_0123456789012345678901";
    const token = await keeper.token(acme, { requestId });
    await unauthorized(await callGate(stack, token, "/v1/completions"), 403);
    const answers = await Promise.all(Array.from({ length: 5 }, () => callGate(stack, token)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 401, 401, 401, 401]);
    for (const answer of answers) await answer.text();
    await unauthorized(await callGate(stack, token), 401);
    await unauthorized(await callGate(stack, token, CHAT, "eu-west"), 401);
    const { entries, promptTokens, outputTokens } = await stack.ledgers();
    expect(entries.map(({ id }) => id)).toEqual([requestId]);
    const { totals } = await settledUsage(stack, "acme", ({ requests }) => requests === 1);
    expect(totals).toMatchObject({ promptTokens, outputTokens, requests: 1 });
  });
});

describe("the edge", () => {
  const PATH = "/gate/v1/report";
  const forbidden = { status: 403, code: "gate_forbidden", type: "permission_error", param: null };
  /** What a forger would like to be billed. */
  const HUGE = 1_000_000;
  const bill = (ticket: string): UsageReport => ({
    ...{ ticket, final: true, outcome: "complete" },
    usage: { promptTokens: HUGE, cachedTokens: 0, outputTokens: 0 },
  });
  const open: (() => void)[] = [];
  const requestIds: Record<string, string> = {};

  /** Each of two tenants has a stream open, and so a reservation. */
  beforeAll(async () => {
    for (const [tenant, key] of [
      ["acme", acme],
      ["globex", globex],
    ] as const) {
      const body = {
        model: "sim-chat",
        messages: [{ role: "user" as const, content: "On [len=30000]" }],
        stream: true as const,
      };
      const { data, response } = await stack.openai({ key }).chat.completions.create(body).withResponse();
      await data[Symbol.asyncIterator]().next();
      requestIds[tenant] = response.headers.get("x-request-id")!;
      open.push(() => data.controller.abort());
    }
  });
  afterAll(() => {
    for (const letGo of open) letGo();
  });
  const ticketOf = (tenant: "acme" | "globex", change = {}, by?: CryptoKey) =>
    keeper.ticket(tenant === "acme" ? acme : globex, { requestId: requestIds[tenant]!, ...change }, by);

  /** Streams are charged as they run; a forged bill would show at once. */
  async function nothingForged(): Promise<void> {
    for (const tenant of ["acme", "globex"]) {
      const { totals, open } = await stack.usage(tenant);
      expect([tenant, open.reservations, totals.promptTokens < HUGE]).toEqual([tenant, 1, true]);
    }
  }

  describe("refuses a report", () => {
    afterEach(nothingForged);
    const refused = async (response: Response) => expectRefusal(response, PATH, forbidden);
    const body = async (change = {}) => batch([bill(await ticketOf("acme"))], change);

    it.each<readonly [string, () => Promise<Response>]>([
      ["without a signature", async () => sendBatch(stack, await body(), stranger, "")],
      ["signed by a word", async () => sendBatch(stack, await body(), stranger, "gate")],
      ["signed by another deployment", async () => sendBatch(stack, await body(), stranger)],
      ["signed by another pool", async () => sendBatch(stack, await body(), await poolKey("eu-west"))],
      ["signed as a ticket is", async () => sendBatch(stack, await body(), await keeper.ticketKey())],
      ["in another pool's name", async () => signedAs("eu-west", 1, await body(), await poolKey(POOL))],
      ["of another pool", async () => sendBatch(stack, await body({ pool: "eu-west" }), await poolKey(POOL))],
      ["of a pool that is none", async () => signedAs("us-moon", 1, await body(), await poolKey("us-moon"))],
      ["with a later secret", async () => signedAs(POOL, 2, await body(), await poolKey(POOL, 2))],
      ["of another version", async () => sendBatch(stack, await body({ version: 2 }), await poolKey(POOL))],
      ["with negative usage", async () => sendBatch(stack, batch([NEGATIVE]), await poolKey(POOL))],
    ])("%s", async (_name, send) => {
      await refused(await send());
    });

    it("whose signature or content was changed anywhere", async () => {
      const [report, key] = [await body(), await poolKey(POOL)];
      const signature = await signReport(report, POOL, 1, key);
      for (const wrong of changed(signature)) await refused(await sendBatch(stack, report, key, wrong));
      for (const at of report.keys()) {
        const other = report.map((byte, index) => (index === at ? byte ^ 1 : byte));
        if (at % 7 === 0) await refused(await sendBatch(stack, other, key, signature));
      }
    });

    it("larger than a report can be", async () => {
      const large = new Uint8Array(REPORT_MAX_BYTES + 1).fill(32);
      const response = await sendBatch(stack, large, await poolKey(POOL));
      await expectRefusal(response, PATH, { status: 413, code: "body_too_large", param: null });
    });
  });

  const NEGATIVE: UsageReport = {
    ...bill("x"),
    usage: { promptTokens: -5, cachedTokens: 0, outputTokens: 0 },
  };
  const signedAs = async (pool: string, version: number, body: Uint8Array<ArrayBuffer>, by: CryptoKey) =>
    sendBatch(stack, body, by, await signReport(body, pool, version, by));

  it("takes no ticket that it did not issue to this pool, one character changed anywhere included", async () => {
    const [mine, yours] = [await ticketOf("acme"), await ticketOf("globex")];
    const [payload, signature] = mine.split(".");
    const [otherPayload, otherSignature] = yours.split(".");
    const tickets = [
      ...[...changed(mine), ...changed(yours)],
      ...[`${payload}.${otherSignature}`, `${otherPayload}.${signature}`, `${mine}.x`, payload!, "x"],
      await ticketOf("acme", { pool: "eu-west" }),
      await ticketOf("acme", { at: "mars" }),
      await ticketOf("acme", { at: "enam#8" }),
      await ticketOf("acme", { at: "enam#01" }),
      await ticketOf("acme", { issuedAtMs: Date.now() - TICKET_VALID_MS - 1 }),
      await ticketOf("acme", {}, await poolKey(POOL)),
      await ticketOf("acme", {}, stranger),
    ];
    expect(tickets.length).toBeGreaterThan(300);
    const response = await sendBatch(stack, batch(tickets.map(bill)), await poolKey(POOL));
    expect([response.status, await response.json()]).toEqual([200, { stop: [], again: [] }]);
    await nothingForged();
  });

  it("takes its own, once, and for its own tenant", async () => {
    const report = batch([bill(await ticketOf("acme"))]);
    for (let turn = 0; turn < 3; turn++) {
      expect((await sendBatch(stack, report, await poolKey(POOL))).status).toBe(200);
    }
    const { totals } = await stack.usage("acme");
    expect(Math.floor(totals.promptTokens / HUGE)).toBe(1);
    const other = await stack.usage("globex");
    expect([other.open.reservations, other.totals.promptTokens < HUGE]).toEqual([1, true]);
  });
});
