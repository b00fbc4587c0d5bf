/** Small clients for the simulated replica. */
import { connect, type Socket } from "node:net";
import type { LedgerEntry } from "../../../../sim/origin/ledger.ts";
import type { Replica } from "../../../../sim/origin/replica.ts";

/** No test waits longer for an answer. */
const ANSWER_MS = 10_000;

/** POSTs JSON. */
export function post(replica: Replica, path: string, body: unknown, headers: Record<string, string> = {}) {
  return fetch(replica.url + path, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
    signal: AbortSignal.timeout(ANSWER_MS),
  });
}

/** A streamed chat with usage on every frame. */
export function chatBody(text: string, more: object = {}): object {
  return {
    model: "sim-chat",
    stream: true,
    stream_options: { include_usage: true, continuous_usage_stats: true },
    temperature: 0,
    messages: [{ role: "user", content: text }],
    ...more,
  };
}

export type Chunk = {
  choices: {
    index: number;
    delta: { content?: string };
    finish_reason: string | null;
    stop_reason?: unknown;
  }[];
  usage?: {
    prompt_tokens: number;
    completion_tokens: number;
    prompt_tokens_details?: { cached_tokens: number };
  };
};

/** What arrived of a stream: text, parsed chunks, and whether `[DONE]` was among it. */
export type Received = { text: string; chunks: Chunk[]; done: boolean; raw: string };

export function readChunks(raw: string): Received {
  const blocks = raw.split("\n\n").filter((block) => block.startsWith('data: {"id"'));
  const chunks = blocks.flatMap((block) => {
    try {
      return [JSON.parse(block.slice(6)) as Chunk];
    } catch {
      return [];
    }
  });
  const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
  return { text, chunks, done: raw.includes("data: [DONE]"), raw };
}

/** Runs a streamed chat to its end. */
export async function stream(
  replica: Replica,
  body: object,
  path = "/v1/chat/completions",
): Promise<Received> {
  const response = await post(replica, path, body);
  return readChunks(await response.text());
}

/** Reads a stream as far as it comes; `broken` says that it did not end properly. */
export async function streamUntilCut(
  replica: Replica,
  body: object,
): Promise<Received & { broken: boolean }> {
  const response = await post(replica, "/v1/chat/completions", body);
  const decoder = new TextDecoder();
  let raw = "";
  try {
    for await (const part of response.body!) raw += decoder.decode(part, { stream: true });
    return { ...readChunks(raw), broken: false };
  } catch {
    return { ...readChunks(raw), broken: true };
  }
}

/** The only entry of a ledger, or the one with this key. */
export function entryOf(replica: Replica, key: string): LedgerEntry {
  const entry = replica.ledger.get(key);
  if (entry === undefined) throw new Error(`no ledger entry ${key}`);
  return entry;
}

/** A connection on which a chat was asked for by hand, to leave in every possible way. */
export function rawChat(replica: Replica, requestId: string, body: object): Socket {
  const { port, hostname } = new URL(replica.url);
  const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
  const text = JSON.stringify(body);
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\nx-request-id: ${requestId}\r\n` +
      `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
  return socket;
}

/** Everything a connection sends until it ends. */
export function readAll(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    socket.on("data", (part) => parts.push(part));
    socket.on("error", () => {});
    socket.on("close", () => resolve(Buffer.concat(parts).toString("utf8")));
    socket.on("end", () => socket.end());
  });
}

/** The body of a chunked answer, as far as it came. */
export function dechunk(raw: string): string {
  const bytes = Buffer.from(raw.slice(raw.indexOf("\r\n\r\n") + 4));
  let body = "";
  for (let at = 0; at < bytes.length; ) {
    const lineEnd = bytes.indexOf("\r\n", at);
    if (lineEnd < 0) break;
    const size = Number.parseInt(bytes.subarray(at, lineEnd).toString(), 16);
    body += bytes.subarray(lineEnd + 2, lineEnd + 2 + size).toString("utf8");
    at = lineEnd + 2 + size + 2;
  }
  return body;
}

/** Waits for something that another process or socket will bring about; fails after four seconds. */
export async function eventually(check: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + 4_000;
  while (!(await check())) {
    if (performance.now() > deadlineMs) throw new Error("it did not happen within four seconds");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
