/** vLLM's error bodies: an OpenAI-like object whose `code` is the HTTP status as a number. */

/** /v1/messages answers in Anthropic's shape, except for what fails before its handler runs. */
export type ErrorShape = "openai" | "anthropic";

/** Thrown wherever a request is refused; answered as JSON, or as a `data:` frame once a stream has begun. */
export class ApiError extends Error {
  readonly status: number;
  readonly type: string;
  readonly param: string | null;

  constructor(status: number, type: string, message: string, param: string | null = null) {
    super(message);
    this.status = status;
    this.type = type;
    this.param = param;
  }

  /** The body, keys in vLLM's order. */
  body(shape: ErrorShape = "openai"): object {
    if (shape === "anthropic" && this.type !== SCHEMA_ERROR) {
      return { type: "error", error: { type: this.type, message: this.message } };
    }
    return { error: { message: this.message, type: this.type, param: this.param, code: this.status } };
  }
}

/** The type of errors that FastAPI finds; mind the blank. */
export const SCHEMA_ERROR = "Bad Request";

/** vLLM's semantic checks: type "BadRequestError"; a named parameter and its value are repeated in the text. */
export function badRequest(message: string, param: string | null = null, value?: string | number): ApiError {
  const details = [
    ...(param === null ? [] : [`parameter=${param}`]),
    ...(value === undefined ? [] : [`value=${value}`]),
  ];
  const suffix = details.length === 0 ? "" : ` (${details.join(", ")})`;
  return new ApiError(400, "BadRequestError", message + suffix, param);
}

/** What a handler's exception becomes: vLLM too calls a wrong type deep inside a request the client's fault. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof TypeError || error instanceof SyntaxError) return badRequest(error.message);
  throw error;
}

export function unknownModel(model: string, served: string): ApiError {
  return new ApiError(
    404,
    "NotFoundError",
    `The model \`${model}\` does not exist. Valid aliases: ${served}.`,
    "model",
  );
}

/** `--max-num-queued-reqs` reached. vLLM sends no Retry-After with it. */
export function queueFull(): ApiError {
  return new ApiError(
    503,
    "Service Unavailable",
    "The engine is currently busy and cannot accept new requests. Please try again later or on a different instance.",
  );
}

/** What a new chat gets while the server drains; `/health` says 200 all the while. */
export function draining(): ApiError {
  return new ApiError(500, "InternalServerError", "cannot schedule new futures after shutdown");
}

/** The engine process died; in a stream this arrives as a frame, then `[DONE]` and a clean end. */
export function engineDead(): ApiError {
  return new ApiError(
    500,
    "InternalServerError",
    "EngineCore encountered an issue. See stack trace (above) for the root cause.",
  );
}

/** JSON as Python's `json.dumps` writes it, with blanks: how vLLM formats errors inside a stream. */
export function pythonJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(", ")}]`;
  if (value !== null && typeof value === "object") {
    const fields = Object.entries(value).map(([key, field]) => `${asciiJson(key)}: ${pythonJson(field)}`);
    return `{${fields.join(", ")}}`;
  }
  return typeof value === "string" ? asciiJson(value) : JSON.stringify(value);
}

function asciiJson(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
