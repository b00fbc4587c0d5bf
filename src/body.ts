import { BODY_READ_MAX_MS, DISCARD_MAX_BYTES, DISCARD_MAX_MS, JSON_DEPTH_MAX } from "./bounds.ts";
import { FailureError } from "./errors.ts";

/** Reading what somebody sends: bounded in bytes, in depth and in time. */

/**
 * The body, at most `maxBytes` of it, whatever `content-length` said. `hold` is told of every piece and may refuse it
 * by throwing. Throws `body_too_large`, or `body_too_slow` when it does not arrive in time.
 */
export async function readBounded(
  request: Request,
  maxBytes: number,
  hold: (bytes: number) => void = () => undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  if (request.body === null) return new Uint8Array(0);
  const reader = request.body.getReader();
  const late = setTimeout(() => reader.cancel("too slow").catch(() => undefined), BODY_READ_MAX_MS);
  const untilMs = Date.now() + BODY_READ_MAX_MS;
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      length += value.length;
      if (length > maxBytes) throw new FailureError({ tag: "body_too_large", limitBytes: maxBytes });
      hold(value.length);
      parts.push(value);
    }
  } finally {
    clearTimeout(late);
    reader.releaseLock();
  }
  // A cancelled reader ends like a body that is complete.
  if (Date.now() >= untilMs) throw new FailureError({ tag: "body_too_slow" });
  return joined(parts, length);
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  if (parts.length === 1) return parts[0] as Uint8Array<ArrayBuffer>;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/**
 * Reads what is left of a refused request's body, within bounds, and throws it away: when the connection is closed
 * on a client that still sends, it sees a reset instead of the answer.
 */
export async function discardBody({ body }: Request): Promise<void> {
  if (body === null || body.locked) return;
  const reader = body.getReader();
  const late = setTimeout(() => reader.cancel().catch(() => undefined), DISCARD_MAX_MS);
  try {
    for (let length = 0; length <= DISCARD_MAX_BYTES; ) {
      const { done, value } = await reader.read();
      if (done) return;
      length += value.length;
    }
  } catch {
    // The client left: nobody waits for the answer.
  } finally {
    clearTimeout(late);
  }
}

/** JSON of bounded depth: V8 takes any nesting, the engines' parsers recurse and would fail on it. */
export function parseJson(bytes: Uint8Array): unknown {
  let text: string;
  try {
    // A byte order mark stays and is refused with all else that is no JSON: the gate reads the same bytes strictly.
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new FailureError({ tag: "bad_json", detail: "it is not UTF-8 text." });
  }
  if (deeperThan(text, JSON_DEPTH_MAX)) {
    throw new FailureError({ tag: "bad_json", detail: `it is nested deeper than ${JSON_DEPTH_MAX} levels.` });
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FailureError({ tag: "bad_json", detail: whereOf(error) });
  }
}

/** Where the parser stopped, without the text around it: that may be a prompt. */
function whereOf(error: unknown): string {
  const at = /position (\d+)/.exec(String(error));
  return at ? `the parser stopped at character ${at[1]}.` : "the parser could not read it to its end.";
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

function deeperThan(text: string, levels: number): boolean {
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit === QUOTE) quoted = !quoted;
    else if (quoted) {
      if (unit === BACKSLASH) at++;
    } else if (unit === 0x7b || unit === 0x5b) {
      if (++depth > levels) return true;
    } else if (unit === 0x7d || unit === 0x5d) depth--;
  }
  return false;
}
