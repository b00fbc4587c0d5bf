/** Types of request fields, refused in the words that FastAPI and pydantic use through vLLM's handler. */
import { ApiError, SCHEMA_ERROR } from "./errors.ts";

export type Body = Record<string, unknown>;

type Problem = { type: string; loc: string; msg: string; input: unknown; ctx?: object };

/** vLLM's answer to a request that does not fit its schema: type "Bad Request", with a blank. */
export function validationError(...problems: readonly Problem[]): ApiError {
  const label = problems.length === 1 ? "1 validation error" : `${problems.length} validation errors`;
  const text = problems.map((problem) => `\n  ${formatProblem(problem)}`).join("");
  return new ApiError(400, SCHEMA_ERROR, `${label}:${text}`, problems[0]!.loc);
}

function formatProblem(problem: Problem): string {
  const input = `'input': ${pythonRepr(summarize(problem.input))}`;
  const ctx = problem.ctx === undefined ? "" : `, 'ctx': ${pythonRepr(problem.ctx)}`;
  return `{'type': '${problem.type}', 'loc': '${problem.loc}', 'msg': ${pythonRepr(problem.msg)}, ${input}${ctx}}`;
}

/** Containers are described and not echoed, as in vLLM, which bounds the size of its answer so. */
function summarize(value: unknown): unknown {
  if (Array.isArray(value)) return `<list of ${value.length} items>`;
  if (value !== null && typeof value === "object") return `<dict of ${Object.keys(value).length} items>`;
  if (typeof value === "string") return value.length > 200 ? `${value.slice(0, 200)}...[truncated]` : value;
  // vLLM sends everything else through str().
  return value === null ? "None" : typeof value === "boolean" ? (value ? "True" : "False") : String(value);
}

function pythonRepr(value: unknown): string {
  if (typeof value === "string") {
    const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
    const body = value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll(quote, `\\${quote}`);
    return quote + body + quote;
  }
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return String(value);
  const fields = Object.entries(value).map(([key, field]) => `${pythonRepr(key)}: ${pythonRepr(field)}`);
  return `{${fields.join(", ")}}`;
}

/** Parses the body of a POST as JSON, with FastAPI's errors. */
export function parseBody(text: string, contentType: string): Body {
  const mediaType = contentType.toLowerCase().split(";", 1)[0];
  if (text !== "" && mediaType !== "application/json") {
    const message = "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed";
    throw new ApiError(400, SCHEMA_ERROR, message);
  }
  if (text === "")
    throw validationError({ type: "missing", loc: "body", msg: "Field required", input: null });
  const body = parseJson(text);
  if (body !== null && typeof body === "object" && !Array.isArray(body)) return body as Body;
  throw validationError({
    type: "model_attributes_type",
    loc: "body",
    msg: "Input should be a valid dictionary or object to extract fields from",
    input: body,
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    // V8 says where it stopped only in words; Python's position is that of the value it could not read.
    const at = /position (\d+)/.exec((error as Error).message)?.[1] ?? String(text.length);
    const ctx = { error: "Expecting value" };
    throw validationError({
      type: "json_invalid",
      loc: `body.${at}`,
      msg: "JSON decode error",
      input: {},
      ctx,
    });
  }
}

/** The error for fields of which at least one must be there. */
export function missing(body: Body, ...fields: readonly string[]): ApiError {
  return validationError(
    ...fields.map((field) => ({ type: "missing", loc: `body.${field}`, msg: "Field required", input: body })),
  );
}

/** The error of a check that a field's own validator makes. */
export function valueError(field: string, message: string, input: unknown): ApiError {
  return validationError({
    type: "value_error",
    loc: `body.${field}`,
    msg: `Value error, ${message}`,
    input,
  });
}

function wrong(field: string, type: string, msg: string, input: unknown): ApiError {
  return validationError({ type, loc: `body.${field}`, msg, input });
}

/** Readers for fields that may be absent or null; pydantic also takes "5" for 5 and "true" for true. */
export const optional = {
  string(body: Body, field: string): string | undefined {
    const value = body[field] ?? undefined;
    if (value === undefined || typeof value === "string") return value;
    throw wrong(field, "string_type", "Input should be a valid string", value);
  },
  integer(body: Body, field: string): number | undefined {
    const value = body[field] ?? undefined;
    if (value === undefined) return undefined;
    if (typeof value === "string" && /^\s*[+-]?\d+\s*$/.test(value)) return Number(value);
    if (typeof value === "boolean") return Number(value);
    if (typeof value === "number") {
      if (Number.isInteger(value)) return value;
      throw wrong(
        field,
        "int_from_float",
        "Input should be a valid integer, got a number with a fractional part",
        value,
      );
    }
    if (typeof value === "string") {
      throw wrong(
        field,
        "int_parsing",
        "Input should be a valid integer, unable to parse string as an integer",
        value,
      );
    }
    throw wrong(field, "int_type", "Input should be a valid integer", value);
  },
  number(body: Body, field: string): number | undefined {
    const value = body[field] ?? undefined;
    if (value === undefined || typeof value === "number") return value;
    if (typeof value === "boolean") return Number(value);
    if (typeof value === "string") {
      if (value.trim() !== "" && Number.isFinite(Number(value))) return Number(value);
      throw wrong(
        field,
        "float_parsing",
        "Input should be a valid number, unable to parse string as a number",
        value,
      );
    }
    throw wrong(field, "float_type", "Input should be a valid number", value);
  },
  boolean(body: Body, field: string): boolean | undefined {
    const value = body[field] ?? undefined;
    if (value === undefined || typeof value === "boolean") return value;
    if (value === 0 || value === 1) return value === 1;
    if (typeof value === "string") {
      if (/^(true|t|yes|y|on|1)$/i.test(value)) return true;
      if (/^(false|f|no|n|off|0)$/i.test(value)) return false;
      throw wrong(field, "bool_parsing", "Input should be a valid boolean, unable to interpret input", value);
    }
    throw wrong(field, "bool_type", "Input should be a valid boolean", value);
  },
  list(body: Body, field: string): unknown[] | undefined {
    const value = body[field] ?? undefined;
    if (value === undefined || Array.isArray(value)) return value;
    throw wrong(field, "list_type", "Input should be a valid list", value);
  },
  record(body: Body, field: string): Body | undefined {
    const value = body[field] ?? undefined;
    if (value === undefined || (typeof value === "object" && value !== null && !Array.isArray(value))) {
      return value as Body | undefined;
    }
    throw wrong(field, "dict_type", "Input should be a valid dictionary", value);
  },
};
