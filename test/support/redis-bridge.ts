import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Reply, RespConnection, RespError } from "./redis-resp.ts";
import { RedisServer } from "./redis-server.ts";

type Command = readonly (string | number)[];
type Result = { readonly result: unknown } | { readonly error: string };

/** Upstash's own flag: Redis refuses to run a script that carries it. */
const FLAG = /^#!lua flags=allow-key-locking\n/;

/**
 * Upstash's REST protocol before a real Redis, and ways in which both can fail. `POST /` takes one command,
 * `/pipeline` and `/multi-exec` take several; an error of Redis comes back word for word with status 400.
 */
export class RedisBridge {
  readonly redis = new RedisServer();
  readonly token = "token-of-the-tests";
  /** Bodies as they arrived. */
  readonly requests: unknown[] = [];
  /** While set, a request waits this long before Redis hears of it. */
  stallMs: number | null = null;
  /** That many of the next requests are carried out, and their connections cut before the answer. */
  cuts = 0;
  readonly #http = createServer((request, response) => {
    const answer = this.#answer(request, response).catch(() => void request.socket.destroy());
    this.#answers.add(answer);
    answer.finally(() => this.#answers.delete(answer));
  });
  /** SHA-1 of a script as clients know it → as Redis does, without the flag. */
  readonly #shas = new Map<string, string>();
  readonly #stalled = new Set<() => void>();
  readonly #answers = new Set<Promise<void>>();

  get url(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  async start(): Promise<this> {
    await this.redis.start();
    this.#http.listen(0, "127.0.0.1");
    await once(this.#http, "listening");
    return this;
  }

  /** Ends every fault, and waits until the requests that were held back are done. */
  async heal(): Promise<void> {
    this.stallMs = null;
    this.cuts = 0;
    for (const go of this.#stalled) go();
    await Promise.all(this.#answers);
  }

  async end(): Promise<void> {
    await this.heal();
    this.#http.closeAllConnections();
    this.#http.close();
    await this.redis.end();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const answer = (status: number, body: unknown) =>
      void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    if (request.headers.authorization !== `Bearer ${this.token}`)
      return answer(401, { error: "Unauthorized" });
    const body = JSON.parse(await textOf(request)) as unknown;
    this.requests.push(body);
    if (this.stallMs !== null) await this.#stall(this.stallMs);
    const encode = request.headers["upstash-encoding"] === "base64" ? inBase64 : (reply: Reply) => reply;
    const { status, result } = await this.#carryOut(request.url ?? "/", body, encode);
    if (this.cuts === 0) return answer(status, result);
    this.cuts -= 1;
    request.socket.destroy();
  }

  async #carryOut(path: string, body: unknown, encode: (reply: Reply) => unknown) {
    let connection: RespConnection | null = null;
    try {
      connection = await RespConnection.open(this.redis.socketPath);
      const run = async (command: Command) =>
        resultOf(await connection!.send(this.#translated(command)), encode);
      if (path === "/") {
        const result = await run(body as Command);
        return { status: "error" in result ? 400 : 200, result };
      }
      if (path !== "/pipeline" && path !== "/multi-exec")
        return { status: 404, result: { error: "no such path" } };
      if (path === "/multi-exec") await run(["MULTI"]);
      const results: Result[] = [];
      for (const command of body as Command[]) results.push(await run(command));
      if (path === "/pipeline") return { status: 200, result: results };
      const done = await connection.send(["EXEC"]);
      return {
        status: 200,
        result: Array.isArray(done) ? done.map((reply) => resultOf(reply, encode)) : results,
      };
    } catch (error) {
      return { status: 500, result: { error: `no Redis: ${String(error)}` } };
    } finally {
      connection?.close();
    }
  }

  /** The command as Redis takes it: scripts without Upstash's flag, their SHA-1 changed to match. */
  #translated(command: Command): Command {
    const [name = "", script = "", ...rest] = command;
    const text = String(script);
    if (/^eval(_ro)?$/i.test(String(name)) && FLAG.test(text)) {
      const plain = text.replace(FLAG, "\n");
      this.#shas.set(sha1(text), sha1(plain));
      return [name, plain, ...rest];
    }
    if (/^evalsha(_ro)?$/i.test(String(name))) return [name, this.#shas.get(text) ?? text, ...rest];
    return command;
  }

  #stall(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const go = () => {
        clearTimeout(timer);
        this.#stalled.delete(go);
        resolve();
      };
      const timer = setTimeout(go, ms);
      this.#stalled.add(go);
    });
  }
}

function resultOf(reply: Reply, encode: (reply: Reply) => unknown): Result {
  return reply instanceof RespError ? { error: reply.message } : { result: encode(reply) };
}

/** Texts in base64, at every depth; numbers and nulls as they are. */
function inBase64(reply: Reply): unknown {
  if (Array.isArray(reply)) return reply.map(inBase64);
  return typeof reply === "string" ? Buffer.from(reply).toString("base64") : reply;
}

function sha1(text: string): string {
  return createHash("sha1").update(text).digest("hex");
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
