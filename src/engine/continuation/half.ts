import type { EndpointId } from "../endpoint.ts";

/** How a half event that a client already has can be made whole. */
export interface Completed {
  /** What follows it on the wire. */
  readonly tail: string;
  /** The text that the client then takes from it. */
  readonly shown: string;
}

/** Where the text of an answer stands in an event. */
const TEXT_KEY: { readonly [id in EndpointId]?: string } = {
  chat: '"content":"',
  completions: '"text":"',
  messages: '"text":"',
  responses: '"delta":"',
};

/**
 * Makes a half event whole, after the pattern of a whole one of the same stream: all events with text are alike but for
 * the text itself. Null where that cannot be: the half is of another kind, or ends inside an escaped character.
 * @param pattern the last whole event with text, or null
 */
export function completeHalf(endpoint: EndpointId, half: string, pattern: string | null): Completed | null {
  if (half.startsWith(":")) return { tail: "\n\n", shown: "" };
  const key = TEXT_KEY[endpoint];
  const at = pattern === null || key === undefined ? -1 : pattern.indexOf(key);
  if (pattern === null || key === undefined || at < 0) return null;
  const before = pattern.slice(0, at + key.length);
  const rest = pattern.slice(before.length);
  const after = next(rest.slice(endOfString(rest)));
  if (half.length <= before.length) {
    return before.startsWith(half) ? { tail: before.slice(half.length) + after, shown: "" } : null;
  }
  if (!half.startsWith(before)) return null;
  const inner = half.slice(before.length);
  const end = endOfString(inner);
  const shown = textOf(inner.slice(0, end));
  if (shown === null) return null;
  const begun = inner.slice(end);
  return after.startsWith(begun) ? { tail: after.slice(begun.length), shown } : null;
}

/** Index of the quote that ends a JSON string, or its length where it does not end. */
function endOfString(text: string): number {
  for (let index = 0; index < text.length; index++) {
    if (text[index] === "\\") index += 1;
    else if (text[index] === '"') return index;
  }
  return text.length;
}

/** Null where it ends inside an escape or between the halves of a surrogate pair. */
function textOf(escaped: string): string | null {
  try {
    const text = JSON.parse(`"${escaped}"`) as string;
    return text.isWellFormed() ? text : null;
  } catch {
    return null;
  }
}

/** The Responses API numbers its events; those of the others carry no number. */
function next(after: string): string {
  return after.replace(
    /"sequence_number":(\d+)/,
    (_, number: string) => `"sequence_number":${Number(number) + 1}`,
  );
}
