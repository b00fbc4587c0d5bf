import { once } from "node:events";
import { type ClientRequest, type IncomingMessage, request } from "node:http";
import { macKey } from "../../src/contract/encoding.ts";
import { ORIGIN_TOKEN_HEADER, type OriginOrder, signOrder } from "../../src/contract/origin-token.ts";
import type { UsageReport } from "../../src/contract/report.ts";
import { checkConfig, type GateConfigInput } from "../../src/gate/config.ts";
import { type Gate, type GateOptions, startGate } from "../../src/gate/gate.ts";
import { type FakeEdge, startFakeEdge } from "./gate-edge.ts";
import { type FakeEngine, startFakeEngine } from "./gate-engine.ts";

export const SECRET = "a secret of at least sixteen characters";

/** A gate with one engine behind it and an edge in front, all in this process. */
export interface Rig {
  readonly gate: Gate;
  readonly edge: FakeEdge;
  readonly engine: FakeEngine;
  /** Log lines of the gate. */
  readonly logs: string[];
  /** Sends one ordered request. */
  call(body: unknown, order?: Partial<OriginOrder>, options?: CallOptions): Promise<Call>;
  /** The final report for an order, once the edge has it. */
  final(order: OriginOrder): Promise<UsageReport>;
  close(): Promise<void>;
}

export interface CallOptions {
  /** Instead of a token made from the order; null for none at all. */
  readonly token?: string | null;
  readonly path?: string;
  readonly method?: string;
}

/** One request to the gate. */
export interface Call {
  readonly order: OriginOrder;
  /** Rejects when the gate never answered. */
  readonly head: Promise<IncomingMessage>;
  /** The body as far as it came, and whether it broke off. */
  readonly rest: Promise<{ text: string; cut: boolean }>;
  /** What arrived, write by write. */
  readonly chunks: string[];
  /** Resolves when so much text is there. */
  received(text: string): Promise<void>;
  leave(): void;
}

/** Quicker than the edge needs it, so that no test waits for a report whose time is not what it tests. */
const QUICK: GateOptions = { cadence: { busyMs: 100, idleMs: 300, gapMs: 10 }, pollMs: 50 };

export async function startRig(
  config: Partial<GateConfigInput> = {},
  options: GateOptions = {},
  given: { edge?: FakeEdge } = {},
): Promise<Rig> {
  const engine = await startFakeEngine();
  const edge = given.edge ?? (await startFakeEdge(SECRET));
  const logs: string[] = [];
  const collect = (event: string, fields: object) => void logs.push(JSON.stringify({ event, ...fields }));
  const gate = await startGate(
    checkConfig({
      pool: "us-east",
      gate: "us-east-a",
      listen: { host: "127.0.0.1", port: 0 },
      edgeUrl: edge.url,
      secrets: { "1": SECRET },
      replicas: { static: [{ id: "r0", url: engine.url }] },
      concurrencyPerReplica: 4,
      drainMs: 1_000,
      ...config,
    }),
    { log: { info: collect, warn: collect }, ...QUICK, ...options },
  );
  const key = await macKey(SECRET);
  return {
    gate,
    edge,
    engine,
    logs,
    async call(body, changes = {}, { token, path, method } = {}) {
      const order = orderOf(changes);
      const text = token === undefined ? await signOrder(order, key) : token;
      return send(`${gate.url}${path ?? order.path}`, method ?? "POST", body, text, order);
    },
    async final(order) {
      await edge.until(() => edge.finals(order.ticket).length > 0);
      return edge.finals(order.ticket)[0]!;
    },
    async close() {
      await gate.close();
      await Promise.all([engine.close(), edge.close()]);
    },
  };
}

let count = 0;

export function orderOf(changes: Partial<OriginOrder> = {}): OriginOrder {
  count += 1;
  const nowMs = Date.now();
  return {
    pool: "us-east",
    secretVersion: 1,
    requestId: `req-${count}`,
    attempt: 0,
    path: "/v1/chat/completions",
    replica: "r0",
    servedModel: "served",
    startByMs: nowMs + 30_000,
    deadlineMs: nowMs + 60_000,
    firstTokenTimeoutMs: 10_000,
    tokenGapTimeoutMs: 20_000,
    cacheSalt: "salt",
    maxOutputTokens: null,
    estimatedPromptTokens: 40,
    ticket: `ticket-${count}`,
    ...changes,
  };
}

function send(url: string, method: string, body: unknown, token: string | null, order: OriginOrder): Call {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (token !== null) headers[ORIGIN_TOKEN_HEADER] = token;
  const req: ClientRequest = request(url, { method, headers, agent: false });
  req.on("error", () => {});
  const chunks: string[] = [];
  let waiting: { text: string; resolve: () => void }[] = [];
  const head = once(req, "response").then(([answer]) => answer as IncomingMessage);
  const rest = head.then(
    (answer) =>
      new Promise<{ text: string; cut: boolean }>((resolve) => {
        answer.setEncoding("utf8");
        answer.on("error", () => {});
        answer.on("data", (chunk: string) => {
          chunks.push(chunk);
          const all = chunks.join("");
          for (const { resolve: found } of waiting.filter(({ text }) => all.includes(text))) found();
          waiting = waiting.filter(({ text }) => !all.includes(text));
        });
        answer.on("close", () => resolve({ text: chunks.join(""), cut: !answer.complete }));
      }),
  );
  head.catch(() => {});
  rest.catch(() => {});
  req.end(body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body));
  return {
    order,
    head,
    rest,
    chunks,
    received: (text) =>
      new Promise((resolve) => {
        if (chunks.join("").includes(text)) resolve();
        else waiting.push({ text, resolve });
      }),
    leave: () => void req.destroy(),
  };
}

/** Resolves when `done` holds; looks often, because what it waits for has no event of its own. */
export async function eventually(done: () => boolean, maxMs = 3_000): Promise<void> {
  const endsAtMs = performance.now() + maxMs;
  while (!done()) {
    if (performance.now() > endsAtMs) throw new Error("what was waited for did not come");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
