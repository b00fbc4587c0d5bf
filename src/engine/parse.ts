import type { Failure } from "../errors.ts";
import type { Call, JsonObject, Parsed } from "./endpoint.ts";
import { bodyCheck, isJsonObject, type RequestFields } from "./schema.ts";

/**
 * The edge half of every endpoint: the allow-list first, then what fields mean together, then the measure.
 * @returns a function that never throws, whatever JSON it is given.
 */
export function parser(
  fields: RequestFields,
  inconsistent: (body: JsonObject) => Failure | null,
  callOf: (body: JsonObject) => Call,
): (body: unknown) => Parsed {
  const check = bodyCheck(fields);
  return (body) => {
    if (!isJsonObject(body)) return refused({ tag: "bad_json", detail: "it is not an object." });
    const failure = check(body) ?? inconsistent(body);
    return failure === null ? { ok: true, call: callOf(body) } : refused(failure);
  };
}

function refused(failure: Failure): Parsed {
  return { ok: false, failure };
}

/** Who the client says is behind the request; OpenAI's newer name wins. */
export function endUserOf(body: JsonObject): string | null {
  for (const value of [body.safety_identifier, body.user]) {
    if (typeof value === "string" && value !== "") return value;
  }
  const metadata = isJsonObject(body.metadata) ? body.metadata : {};
  return typeof metadata.user_id === "string" && metadata.user_id !== "" ? metadata.user_id : null;
}
