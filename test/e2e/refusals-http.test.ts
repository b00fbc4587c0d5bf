import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectNoTrace, expectRefusal, type Refusal } from "../support/refusals.ts";
import { rawPost, sendRaw } from "../support/socket.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

/** What a client does with HTTP itself: no path, header or method of its choosing reaches an origin of its choosing. */
let stack: TestStack;
/** Whoever a client would like the router to call. It must never hear anything. */
let stranger: Server;
let strangersPort: number;
const heard: string[] = [];
beforeAll(async () => {
  stack = await testStack({ simArgs: ["--speed", "10"] });
  stranger = createServer((req, res) => {
    heard.push(`${req.method} ${req.url}`);
    res.end();
  });
  await new Promise<void>((resolve) => stranger.listen(0, "127.0.0.1", resolve));
  strangersPort = (stranger.address() as AddressInfo).port;
});
afterAll(async () => {
  stranger?.close();
  await stack?.end();
});

const CHAT = "/v1/chat/completions";
const CANARY = "canary-path-91e0";
const BODY = { model: "sim-chat", messages: [{ role: "user", content: "Hello [len=3]" }] };
const edgePort = () => Number(new URL(stack.info.baseUrl).port);
const send = (target: string, lines = "", host?: string) =>
  sendRaw(edgePort(), rawPost(target, stack.info.tenant.key, BODY, lines, host));

describe("an origin that the client names is never called", () => {
  const named = () => `127.0.0.1:${strangersPort}`;

  it.each([
    ["an absolute request line", () => send(`http://${named()}${CHAT}`)],
    ["a Host header", () => send(CHAT, "", named())],
    [
      "forwarding headers",
      () => send(CHAT, `X-Forwarded-Host: ${named()}\r\nForwarded: host=${named()}\r\n`),
    ],
    ["a query", () => send(`${CHAT}?base_url=http://${named()}&origin=${named()}`)],
    [
      "the router's own headers",
      () => send(CHAT, `X-Meridian-Token: x.y\r\nX-Meridian-Region: ${named()}\r\nX-Meridian-Replica: x\r\n`),
    ],
    ["a gate's header", () => send(CHAT, `X-Meridian-Gate: us-east.1.${"A".repeat(43)}\r\n`)],
  ])("by %s: one of ours answers", async (_name, ask) => {
    const { status, headers, text } = await ask();
    expect([status, text]).toEqual([200, expect.stringContaining('"chat.completion"')]);
    expect(headers.get("x-meridian-replica")).toMatch(/^us-east-[01]$/);
    expect(heard).toEqual([]);
  });

  it.each([
    ["two slashes", () => `//127.0.0.1:${strangersPort}${CHAT}`, 404],
    ["dots", () => "/v1/../v1/chat/completions", 404],
    ["encoded dots", () => "/v1/x/%2e%2e/chat/completions", 404],
    ["encoded dots into the admin API", () => "/v1/%2e%2e/admin/v1/tenants", 404],
    ["dots out of the admin API", () => "/admin/../v1/chat/completions", 401],
    ["an encoded slash", () => "/v1/chat%2fcompletions", 404],
    ["a backslash", () => "/v1\\chat\\completions", 404],
    ["another case", () => "/v1/Chat/Completions", 404],
    ["a slash at the end", () => `${CHAT}/`, 404],
    ["a path that only engines have", () => "/invocations", 404],
    ["the engines' control", () => "/_sim/faults", 404],
    ["a name and an at sign", () => `@127.0.0.1:${strangersPort}${CHAT}`, 400],
  ])("nor by %s", async (_name, target, status) => {
    const before = (await stack.ledgers()).entries.length;
    const answer = await send(`${target()}${status === 404 ? `?${CANARY}` : ""}`);
    expect([answer.status, answer.headers.get("x-meridian-replica")]).toEqual([status, null]);
    if (status === 404) expect(JSON.parse(answer.text)).toMatchObject({ error: { code: "unknown_url" } });
    expect((await stack.ledgers()).entries.length).toBe(before);
    expect(heard).toEqual([]);
  });

  it("nor by asking for a tunnel", async () => {
    const tunnel = `CONNECT ${named()} HTTP/1.1\r\nHost: ${named()}\r\nConnection: close\r\n\r\n`;
    expect((await sendRaw(edgePort(), tunnel)).status).toBeGreaterThanOrEqual(400);
    expect(heard).toEqual([]);
  });
});

describe("headers", () => {
  it.each([
    ["a bare CR", "X-Request-Id: a\rX-Injected: b\r\n", 400],
    ["a folded line", "X-Request-Id: a\r\n X-Injected: b\r\n", 400],
    ["a NUL", "X-Request-Id: a\0b\r\n", 400],
    ["a header without a name", ": b\r\n", 400],
    ["two lengths", "Content-Length: 3\r\n", 400],
    ["an encoded line break", "X-Request-Id: a%0d%0aX-Injected: b\r\n", 200],
    ["a bare LF, which begins a header of its own", "X-Request-Id: a\nX-Injected: b\r\n", 200],
  ])("%s puts nothing into the answer's", async (_name, lines, status) => {
    const answer = await send(CHAT, lines);
    expect([answer.status, answer.headers.get("x-injected")]).toEqual([status, null]);
    if (status === 200) expect(answer.headers.get("x-request-id")).toMatch(/^req_[0-9A-Za-z]{22}$/);
  });

  it("the client's x-request-id names nothing: not the answer, not the engine's request", async () => {
    const given = "req_0000000000000000000000";
    for (let turn = 0; turn < 2; turn++) {
      const response = await stack.post(CHAT, BODY, { "x-request-id": given });
      const id = response.headers.get("x-request-id")!;
      expect([response.status, id === given]).toEqual([200, false]);
      const { entries } = await stack.ledgers();
      expect(entries.filter((entry) => entry.id === id)).toHaveLength(1);
      expect(entries.filter((entry) => entry.id.startsWith(given))).toEqual([]);
    }
  });

  it("a value that would break a header comes back in none", async () => {
    const body = { ...BODY, model: "sim-chat\r\nX-Injected: b", user: "a\r\nX-Injected: b" };
    const response = await stack.post(CHAT, body);
    await expectRefusal(response, CHAT, { status: 404, code: "model_not_found", param: "model" });
    expect(response.headers.get("x-injected")).toBe(null);
  });
});

describe("routes and methods", () => {
  const unknownUrl: Refusal = { status: 404, code: "unknown_url", param: null };
  const wrongMethod: Refusal = { status: 405, code: "method_not_allowed", param: null };
  const posts = [CHAT, "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/v1/rerank"];
  const gets = ["/v1/models", "/health", "/ready", "/metrics"];
  const ask = (method: string, path: string) =>
    fetch(`${stack.info.baseUrl}${path}`, {
      method,
      headers: { authorization: `Bearer ${stack.info.tenant.key}` },
    });

  it.each([...posts, "/v1/score", "/v1/tokenize", "/gate/v1/report"])("%s takes POST alone", async (path) => {
    for (const method of ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
      const response = await ask(method, path);
      expect([method, response.headers.get("allow")]).toEqual([method, "POST"]);
      await expectRefusal(response, path, wrongMethod);
    }
  });

  it.each(gets)("%s takes GET alone", async (path) => {
    for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
      const response = await ask(method, path);
      expect([method, response.headers.get("allow")]).toEqual([method, "GET"]);
      await expectRefusal(response, path, wrongMethod);
    }
  });

  it.each([
    "/",
    "/v1",
    "/v1/",
    "/v1/nothing",
    "/v2/chat/completions",
    "/v1/chat",
    "/gate/v1",
    "/favicon.ico",
  ])("there is no %s", async (path) => {
    for (const method of ["GET", "POST"]) await expectRefusal(await ask(method, path), path, unknownUrl);
  });

  it("a method that HTTP does not have is none", async () => {
    const answer = await sendRaw(edgePort(), `BREW ${CHAT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    expect(answer.status).toBe(501);
  });
});

it("charged what was answered and nothing else, and logged no key and no query", async () => {
  const { totals } = await eventually(
    () => stack.usage(),
    ({ open }) => open.reservations === 0,
  );
  const { entries, promptTokens, outputTokens } = await stack.ledgers();
  expect(totals).toMatchObject({ requests: entries.length, promptTokens, outputTokens });
  await expectNoTrace(stack, [CANARY, stack.info.tenant.key, stack.info.adminKey]);
});
