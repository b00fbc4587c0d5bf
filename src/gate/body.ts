import type { IncomingMessage } from "node:http";
import type { JsonObject } from "../engine/endpoint.ts";
import type { Failure } from "../errors.ts";

export type Body =
  | { readonly ok: true; readonly json: JsonObject }
  | { readonly ok: false; readonly failure: Failure }
  /** The edge left while it sent. */
  | { readonly ok: false; readonly failure: null };

/** Bytes that may be held at once. */
export class ByteBudget {
  readonly #max: number;
  #held = 0;

  constructor(maxBytes: number) {
    this.#max = maxBytes;
  }

  take(bytes: number): boolean {
    if (this.#held + bytes > this.#max) return false;
    this.#held += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#held -= bytes;
    if (this.#held < 0) throw new Error("more bytes given back than were taken");
  }
}

/** Bytes that a request's body may come to: what it says, or the most that is read. */
export function bodyBytes(req: IncomingMessage, maxBytes: number): number {
  const stated = Number(req.headers["content-length"] ?? Number.NaN);
  return Number.isFinite(stated) ? Math.min(stated, maxBytes) : maxBytes;
}

/** Reads a whole JSON body of at most `maxBytes`, for at most `timeoutMs`. Never rejects. */
export async function readJsonBody(req: IncomingMessage, maxBytes: number, timeoutMs: number): Promise<Body> {
  const tooLarge: Body = { ok: false, failure: { tag: "body_too_large", limitBytes: maxBytes } };
  if (Number(req.headers["content-length"] ?? 0) > maxBytes) return tooLarge;
  const chunks: Buffer[] = [];
  let bytes = 0;
  const late = setTimeout(() => req.destroy(), timeoutMs);
  try {
    for await (const chunk of req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      bytes += chunk.byteLength;
      if (bytes > maxBytes) return tooLarge;
      chunks.push(chunk);
    }
  } catch {
    return { ok: false, failure: null };
  } finally {
    clearTimeout(late);
  }
  try {
    const json: unknown = JSON.parse(Buffer.concat(chunks, bytes).toString("utf8"));
    if (typeof json === "object" && json !== null && !Array.isArray(json)) {
      return { ok: true, json: json as JsonObject };
    }
  } catch {
    // Told below: the parser's own message quotes the text.
  }
  return { ok: false, failure: { tag: "bad_json", detail: "not a JSON object" } };
}
