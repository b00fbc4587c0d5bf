import { errorBody, type Failure, told } from "../errors.ts";
import type { EndpointId } from "./endpoint.ts";
import { namedFrame, openaiError } from "./frames.ts";

/**
 * What ends a stream that broke off somewhere, written by somebody who did not read it: an error that the endpoint's
 * SDK throws on. It begins with a blank line, which closes a half event that the client may already have.
 */
export function brokenStream(endpoint: EndpointId, failure: Failure): string {
  return `\n\n${errorEvent(endpoint, failure)}`;
}

function errorEvent(endpoint: EndpointId, failure: Failure): string {
  if (endpoint === "messages") return namedFrame("error", errorBody(failure, "anthropic"));
  if (endpoint === "responses") {
    const { code, message } = told(failure);
    return namedFrame("error", { type: "error", code, message, param: null });
  }
  return openaiError(failure);
}
