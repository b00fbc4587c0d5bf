/** Small helpers around Node's HTTP server. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { ApiError, ErrorShape } from "./errors.ts";

const MAX_BODY_BYTES = 64 * 1024 * 1024;

/** Reads a request body as text. Rejects when the client leaves before its end or sends too much. */
export async function readText(req: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw new Error("request body too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

export function jsonHeaders(text: string): Record<string, string> {
  return { "content-type": "application/json", "content-length": String(Buffer.byteLength(text)) };
}

/** Answers with JSON; a string goes out as it is. */
export function sendJson(
  res: ServerResponse,
  status: number,
  body: object | string,
  headers: Record<string, string> = {},
): void {
  sendText(res, status, typeof body === "string" ? body : JSON.stringify(body), {
    "content-type": "application/json",
    ...headers,
  });
}

export function sendText(
  res: ServerResponse,
  status: number,
  text: string,
  headers: Record<string, string>,
): void {
  if (res.headersSent || res.destroyed) return;
  res.writeHead(status, { ...headers, "content-length": String(Buffer.byteLength(text)) });
  res.end(text);
}

export function sendError(res: ServerResponse, error: ApiError, shape: ErrorShape = "openai"): void {
  sendJson(res, error.status, error.body(shape));
}
