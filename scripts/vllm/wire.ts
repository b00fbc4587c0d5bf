import { request } from "node:http";
import type { Socket } from "node:net";
import { HOST } from "./server.ts";

export interface WireRequest {
  port: number;
  method: "GET" | "POST";
  path: string;
  headers: Record<string, string>;
  /** Sent as it is: a test of bad JSON needs that. */
  body: string;
}

/** How an answer ended: with its proper last chunk, by a broken connection, or by our own deadline. */
export type End = "complete" | "cut" | "deadline";

export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
  end: End;
  /** Since the request was sent. */
  headersMs: number;
  /** When each piece of the body came, since the request was sent. */
  pieces: { atMs: number; text: string }[];
}

export interface Watch {
  deadlineMs: number;
  /** Called with the text so far after each piece of the body. */
  onText?: (text: string, socket: Socket) => void;
}

/**
 * One request on a connection of its own, with every byte of the answer kept.
 * @throws Error when no answer began: refused, reset or past the deadline.
 */
export function exchange(wire: WireRequest, watch: Watch): Promise<Answer> {
  const startMs = performance.now();
  const { port, method, path } = wire;
  const length = method === "POST" ? { "content-length": String(Buffer.byteLength(wire.body)) } : {};
  return new Promise((resolve, reject) => {
    const outgoing = request({
      host: HOST,
      port,
      method,
      path,
      agent: false,
      headers: { ...wire.headers, ...length },
    });
    // Own timer instead of `signal`: an abort rejects the request even when an answer has begun.
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      outgoing.destroy(new Error(`no end of ${method} ${path} within ${watch.deadlineMs} ms`));
    }, watch.deadlineMs);
    outgoing.on("error", reject);
    outgoing.once("response", (incoming) => {
      outgoing.off("error", reject).on("error", () => {});
      const headersMs = performance.now() - startMs;
      const chunks: Buffer[] = [];
      const pieces: Answer["pieces"] = [];
      let text = "";
      incoming.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        text += chunk.toString("utf8");
        pieces.push({ atMs: performance.now() - startMs, text: chunk.toString("utf8") });
        watch.onText?.(text, incoming.socket);
      });
      // A cut or a deadline is an answer too; "close" follows and tells which.
      incoming.once("error", () => {});
      incoming.once("close", () => {
        clearTimeout(timer);
        const end: End = incoming.complete ? "complete" : late ? "deadline" : "cut";
        const headers = Object.fromEntries(
          Object.entries(incoming.headers).map(([name, value]) => [name, String(value)]),
        );
        const body = Buffer.concat(chunks);
        resolve({ status: incoming.statusCode ?? 0, headers, body, end, headersMs, pieces });
      });
    });
    outgoing.once("close", () => clearTimeout(timer));
    outgoing.end(wire.body);
  });
}
