import { z } from "zod";
import { JSON_DEPTH_MAX } from "../bounds.ts";
import type { Failure } from "../errors.ts";
import type { JsonObject } from "./endpoint.ts";

/**
 * The allow-list of one endpoint's request fields, and how a breach of it is told. Engines ignore what they do
 * not know and act on much that is not in the API (a template, a scheduling priority), so every field is named.
 */
export interface RequestFields {
  /** Checked and sent to the engine. */
  readonly passes: Readonly<Record<string, z.ZodType>>;
  /** Checked and kept from the engine: it has no use for them or would misread them. */
  readonly stripped: Readonly<Record<string, z.ZodType>>;
  /** Refused, with the reason that the client is told. What an endpoint lets pass is not refused there. */
  readonly forbidden: Readonly<Record<string, string>>;
}

/** Checks a body. Null when it is in order. Never throws. */
export type BodyCheck = (body: JsonObject) => Failure | null;

export function bodyCheck(fields: RequestFields): BodyCheck {
  const schema = z.strictObject({ ...fields.passes, ...fields.stripped });
  const known = new Set([...Object.keys(fields.passes), ...Object.keys(fields.stripped)]);
  const forbidden = new Map(Object.entries(fields.forbidden));
  return (body) => {
    for (const name of Object.keys(body)) {
      if (known.has(name)) continue;
      const why = forbidden.get(name) ?? (name.startsWith("guided_") ? forbidden.get("guided_*") : undefined);
      if (why === undefined) return { tag: "unknown_field", param: name.slice(0, NAME_SHOWN_MAX_CHARS) };
      return { tag: "forbidden_field", param: name, detail: `'${name}' is not accepted: ${why}` };
    }
    const result = schema.safeParse(body);
    return result.success ? null : failureOf(result.error.issues[0]!);
  };
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function invalid(param: string, why: string): Failure {
  return { tag: "invalid_field", param, detail: `Invalid value for '${param}': ${why}` };
}

const NAME_SHOWN_MAX_CHARS = 100;

type Issue = z.core.$ZodIssue;

function failureOf(first: Issue): Failure {
  const { issue, path } = deepest(first);
  if (issue.code === "unrecognized_keys") {
    const name = (issue.keys[0] ?? "").slice(0, NAME_SHOWN_MAX_CHARS);
    return { tag: "unknown_field", param: paramOf([...path, name]) };
  }
  const param = paramOf(path);
  if (issue.message === FORBIDDEN_MESSAGE) {
    return { tag: "forbidden_field", param, detail: `'${param}' is not accepted: ${forbiddenWhy(issue)}` };
  }
  if (issue.message.endsWith("received undefined")) {
    return { tag: "invalid_field", param, detail: `Missing required parameter: '${param}'.` };
  }
  return invalid(param, explanation(issue));
}

/** What zod says of a union that has no message of its own. */
const NO_MESSAGE = "Invalid input";

/** Of a union's branches the one that got furthest is the one that the client meant. */
function deepest(issue: Issue, above: readonly PropertyKey[] = []): { issue: Issue; path: PropertyKey[] } {
  const path = [...above, ...issue.path];
  const isLeaf = issue.code !== "invalid_union" || issue.errors.length === 0 || issue.message !== NO_MESSAGE;
  if (isLeaf) return { issue, path };
  let best: { issue: Issue; path: PropertyKey[] } | null = null;
  for (const [first] of issue.errors) {
    if (first === undefined) continue;
    const candidate = deepest(first, path);
    if (best === null || candidate.path.length > best.path.length) best = candidate;
  }
  return best !== null && best.path.length > path.length ? best : { issue, path };
}

function explanation(issue: Issue): string {
  if (issue.code === "invalid_union") {
    const options = "options" in issue && Array.isArray(issue.options) ? issue.options : null;
    if (options !== null)
      return `expected one of ${options.map((option) => `'${String(option)}'`).join(", ")}.`;
    const expected = issue.errors.flatMap(([first]) =>
      first?.code === "invalid_type" ? [String(first.expected)] : [],
    );
    return expected.length > 0 ? `expected ${[...new Set(expected)].join(" or ")}.` : "of no accepted form.";
  }
  const text = issue.message.replace(/^Invalid (?:input|option): /, "");
  return `${text.charAt(0).toLowerCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
}

/** As OpenAI writes it: `messages[0].content[1].image_url.url`. */
function paramOf(path: readonly PropertyKey[]): string {
  let param = "";
  for (const part of path) {
    if (typeof part === "number") param += `[${part}]`;
    else param += param === "" ? String(part) : `.${String(part)}`;
  }
  return param;
}

/**
 * A list whose check ends at the first bad item. zod's own `array` collects an issue per item, before it looks
 * at the length: a body of 8 MiB would make four million of them.
 */
export function list(item: z.ZodType, most: number, least = 0) {
  return z.array(z.unknown()).check((context) => {
    const items = context.value;
    const wrongLength = items.length > most || items.length < least;
    if (wrongLength) {
      const message = items.length > most ? `at most ${most} items` : `at least ${least} item`;
      context.issues.push({ code: "custom", input: items, path: [], message });
      return;
    }
    for (let index = 0; index < items.length; index++) {
      const issue = firstIssue(item, items[index], [index]);
      if (issue === null) continue;
      context.issues.push(issue);
      return;
    }
  });
}

/** A value whose own looks say by which schema it is meant; a union would tell of the wrong one's complaint. */
export function chosen(pick: (value: unknown) => z.ZodType) {
  return z.unknown().check((context) => {
    const issue = firstIssue(pick(context.value), context.value, []);
    if (issue !== null) context.issues.push(issue);
  });
}

function firstIssue(schema: z.ZodType, value: unknown, at: PropertyKey[]): z.core.$ZodRawIssue | null {
  const result = schema.safeParse(value);
  if (result.success) return null;
  const issue = result.error.issues[0]!;
  return { ...issue, path: [...at, ...issue.path], input: undefined } as z.core.$ZodRawIssue;
}

/** The longest prompt given as token ids: what fits into a body, and beyond every model's context. */
export const PROMPT_TOKENS_MAX = 2 ** 21;

/** Token ids of a vocabulary. Checked by hand: a prompt may have a million of them. */
export function tokenIds(most: number, least = 0) {
  return z.custom<number[]>(
    (value) => isTokenIds(value, most, least),
    `expected ${least} to ${most} token ids`,
  );
}

/** Vocabularies are below 2^18 today; engines hold ids in 32 bits. */
const TOKEN_ID_MAX = 2 ** 31 - 1;

export function isTokenIds(value: unknown, most: number, least: number): value is number[] {
  if (!Array.isArray(value) || value.length > most || value.length < least) return false;
  for (const id of value) {
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id > TOKEN_ID_MAX) return false;
  }
  return true;
}

/** JSON of the client's own making (a schema, a tool's input): no deeper than an engine's parser can stand. */
export const freeJson = z.unknown().refine((value) => isPlain(value, JSON_DEPTH_MAX), {
  message: `nested deeper than ${JSON_DEPTH_MAX} levels, or a number beyond what JSON can carry`,
});
export const freeObject = freeJson.refine(isJsonObject, { message: "expected an object" });

/** Without depth, numbers beyond a double (`1e999` reads as infinity) and thus without surprises on the way out. */
function isPlain(value: unknown, depth: number): boolean {
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value !== "object" || value === null) return true;
  if (depth === 0) return false;
  const items = Array.isArray(value) ? value : Object.values(value);
  for (const item of items) {
    if (!isPlain(item, depth - 1)) return false;
  }
  return true;
}

const FORBIDDEN_MESSAGE = "forbidden";

/** A nested value that is refused for a reason, and not for its type. */
export function refusedUnless<T>(schema: z.ZodType<T>, accepts: (value: T) => boolean, why: string) {
  return schema.refine(accepts, { message: FORBIDDEN_MESSAGE, params: { why } });
}

function forbiddenWhy(issue: Issue): string {
  const why = issue.code === "custom" ? issue.params?.why : undefined;
  return typeof why === "string" ? why : "not by this router.";
}
