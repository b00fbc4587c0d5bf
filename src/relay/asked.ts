import { FIRST_TOKEN_DEADLINE_MIN_MS, SESSION_MAX_CHARS, START_DEADLINE_MS } from "../bounds.ts";
import { BANDS, type Band } from "../catalogue.ts";
import { FailureError } from "../errors.ts";

/** What a client may say of its request's place in the queue, by headers: no SDK has fields for it. */
export interface Asked {
  readonly band: Band | null;
  /** Milliseconds from now to the first token, or it is of no use. */
  readonly firstTokenWithinMs: number | null;
  readonly session: string | null;
}

export const PRIORITY_HEADER = "x-meridian-priority";
export const DEADLINE_HEADER = "x-meridian-deadline-ms";
export const SESSION_HEADER = "x-meridian-session";

/** Throws `invalid_field` with the header's name: what is misspelt must not pass for something else. */
export function askedOf(headers: Headers): Asked {
  return {
    band: bandFrom(headers.get(PRIORITY_HEADER)),
    firstTokenWithinMs: deadlineFrom(headers.get(DEADLINE_HEADER)),
    session: sessionFrom(headers.get(SESSION_HEADER)),
  };
}

function bandFrom(text: string | null): Band | null {
  if (text === null) return null;
  const band = BANDS.find((name) => name === text.trim().toLowerCase());
  return band ?? invalid(PRIORITY_HEADER, `one of ${BANDS.join(", ")}.`);
}

function deadlineFrom(text: string | null): number | null {
  if (text === null) return null;
  const ms = /^\d{1,9}$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (ms >= FIRST_TOKEN_DEADLINE_MIN_MS && ms <= START_DEADLINE_MS) return ms;
  return invalid(
    DEADLINE_HEADER,
    `whole milliseconds from ${FIRST_TOKEN_DEADLINE_MIN_MS} to ${START_DEADLINE_MS}.`,
  );
}

function sessionFrom(text: string | null): string | null {
  if (text === null || text === "") return null;
  if (text.length <= SESSION_MAX_CHARS) return text;
  return invalid(SESSION_HEADER, `at most ${SESSION_MAX_CHARS} characters.`);
}

function invalid(header: string, expected: string): never {
  throw new FailureError({ tag: "invalid_field", param: header, detail: `Invalid '${header}': ${expected}` });
}
