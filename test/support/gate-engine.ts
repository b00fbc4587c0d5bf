import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

/** A tiny engine that says exactly what a test tells it to say, byte for byte. */
export interface FakeEngine {
  readonly url: string;
  /** What the next POST requests do; by default a chat stream of three tokens. */
  script: Script;
  /** Requests seen on the generating routes. */
  readonly seen: SeenRequest[];
  health: number;
  metrics: string;
  models: string[];
  /** What /tokenize answers, or null for a 500. */
  tokenCount: number | null;
  readonly tokenized: unknown[];
  /** Stops listening, while open connections go on. */
  refuse(): Promise<void>;
  close(): Promise<void>;
}

export interface SeenRequest {
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: Record<string, unknown>;
  readonly socket: Socket;
  /** Resolves when the gate ended its side of the connection. */
  readonly left: Promise<void>;
}

export type Script = (res: ServerResponse, request: SeenRequest) => void | Promise<void>;

export async function startFakeEngine(): Promise<FakeEngine> {
  const server = createServer((req, res) => void answer(req, res));
  server.keepAliveTimeout = 5_000;
  // So that a script can go on writing when the gate has ended its side, as an engine does for a moment.
  Object.assign(server, { httpAllowHalfOpen: true });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const engine = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    script: chatStream(3),
    seen: [] as SeenRequest[],
    health: 200,
    metrics: METRICS,
    models: ["served"],
    tokenCount: 7 as number | null,
    tokenized: [] as unknown[],
    async refuse() {
      server.close();
    },
    async close() {
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };

  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    res.on("error", () => {});
    if (req.url === "/health") res.writeHead(engine.health).end();
    else if (req.url === "/metrics") res.end(engine.metrics);
    else if (req.url === "/v1/models") res.end(JSON.stringify({ data: engine.models.map((id) => ({ id })) }));
    else {
      const body = await readBody(req);
      if (req.url === "/tokenize") {
        engine.tokenized.push(body);
        if (engine.tokenCount === null) res.writeHead(500).end();
        else res.end(JSON.stringify({ count: engine.tokenCount }));
        return;
      }
      const left = new Promise<void>((resolve) => {
        req.socket.once("end", resolve);
        req.socket.once("close", () => resolve());
      });
      const seen = { path: req.url ?? "", headers: req.headers, body, socket: req.socket, left };
      engine.seen.push(seen);
      await engine.script(res, seen);
    }
  }
  return engine;
}

async function readBody(req: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  for await (const chunk of req) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString("utf8")) as Record<string, unknown>;
}

export const METRICS = [
  "process_start_time_seconds 1.7e+09",
  'vllm:num_requests_running{engine="0",model_name="served"} 2.0',
  'vllm:num_requests_waiting{engine="0",model_name="served"} 1.0',
  'vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 9.0',
  'vllm:kv_cache_usage_perc{engine="0",model_name="served"} 0.25',
  "",
].join("\n");

export const PROMPT_TOKENS = 5;

/** A frame of vLLM's chat stream, with the usage so far that the gate asks for. */
export function chatFrame(tokens: number, content: string, finish: string | null = null): string {
  const delta = tokens <= 1 ? { role: "assistant", content } : { content };
  return dataFrame({
    id: "chatcmpl-x",
    object: "chat.completion.chunk",
    created: 1_700_000_000,
    model: "served",
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
    usage: usageOf(tokens),
  });
}

export function usageFrame(tokens: number): string {
  return dataFrame({
    id: "chatcmpl-x",
    object: "chat.completion.chunk",
    created: 1_700_000_000,
    model: "served",
    choices: [],
    usage: usageOf(tokens),
  });
}

export function usageOf(tokens: number) {
  return {
    prompt_tokens: PROMPT_TOKENS,
    total_tokens: PROMPT_TOKENS + tokens,
    completion_tokens: tokens,
    prompt_tokens_details: { cached_tokens: 2 },
  };
}

export function dataFrame(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

export const DONE = "data: [DONE]\n\n";

/** The whole text of a proper stream of `tokens` tokens. */
export function chatText(tokens: number): string {
  let text = "";
  for (let token = 1; token < tokens; token++) text += chatFrame(token, ` t${token}`);
  return `${text}${chatFrame(tokens, ` t${tokens}`, "stop")}${usageFrame(tokens)}${DONE}`;
}

export function streamHead(res: ServerResponse): void {
  res.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  res.flushHeaders();
}

/** Everything written arrives, the end of the answer does not. */
export const breakOff: Script = (res) => {
  res.socket?.destroySoon();
};

export function chatStream(tokens: number): Script {
  return (res) => {
    streamHead(res);
    res.end(chatText(tokens));
  };
}

/** Sends `tokens` tokens of an unfinished stream and then does what `then` says. */
export function chatThen(tokens: number, then: Script): Script {
  return async (res, request) => {
    streamHead(res);
    for (let token = 1; token <= tokens; token++) res.write(chatFrame(token, ` t${token}`));
    await then(res, request);
  };
}

export function chatWhole(tokens: number): Script {
  return (res) => {
    res.writeHead(200, { "content-type": "application/json" });
    res.end(JSON.stringify(wholeAnswer(tokens)));
  };
}

export function wholeAnswer(tokens: number) {
  const message = { role: "assistant", content: "hello" };
  return {
    id: "chatcmpl-x",
    object: "chat.completion",
    created: 1_700_000_000,
    model: "served",
    choices: [{ index: 0, message, logprobs: null, finish_reason: "stop" }],
    usage: usageOf(tokens),
  };
}

export function errorAnswer(status: number, message: string): Script {
  return (res) => {
    res.writeHead(status, { "content-type": "application/json" });
    res.end(JSON.stringify({ error: { message, type: "X", param: null, code: status } }));
  };
}
