import { parseJson, readBounded } from "../body.ts";
import { BODIES_IN_FLIGHT_MAX_BYTES, BODY_MAX_BYTES } from "../bounds.ts";
import { whyNotResumable } from "../engine/continuation/eligible.ts";
import type { Call, Endpoint, JsonObject } from "../engine/endpoint.ts";
import { promptParts } from "../engine/prompt-parts.ts";
import { FailureError } from "../errors.ts";
import { blocksOf, type PromptBlocks } from "../routing/blocks.ts";

/** A request's body, as bytes for the origin and as what the edge knows of it. */
export interface ReadCall {
  readonly call: Call;
  /** Sent to the gate as the client sent it: nothing is serialised anew here. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Whether what it would generate can be carried on elsewhere, and this isolate has room to keep it until then. */
  readonly resumable: boolean;
  /** Whether an engine would say the same again: temperature 0. */
  readonly exact: boolean;
  readonly prompt: PromptBlocks;
  /** The client's name for its conversation, or for its end user where it names no conversation. */
  readonly conversation: string | null;
  /** Gives the isolate's memory share back; once more does nothing. */
  done(): void;
}

let bytesInFlight = 0;

/**
 * Reads, bounds and parses a body, once. `salt` keeps one tenant's blocks apart from another's, as it does in the
 * engine's cache; the model joins it, since no two models share a cache, also where both are adapters of one base.
 */
export async function readCall(request: Request, endpoint: Endpoint, salt: string): Promise<ReadCall> {
  requireJson(request.headers);
  const declared = Number(request.headers.get("content-length") ?? 0);
  if (declared > BODY_MAX_BYTES)
    throw new FailureError({ tag: "body_too_large", limitBytes: BODY_MAX_BYTES });
  let heldBytes = 0;
  const done = () => {
    bytesInFlight -= heldBytes;
    heldBytes = 0;
  };
  try {
    const bytes = await readBounded(request, BODY_MAX_BYTES, (more) => {
      if (bytesInFlight + more > BODIES_IN_FLIGHT_MAX_BYTES) {
        throw new FailureError({ tag: "edge_busy", retryAfterMs: 1_000 });
      }
      bytesInFlight += more;
      heldBytes += more;
    });
    const json = parseJson(bytes);
    const parsed = endpoint.parse(json);
    if (!parsed.ok) throw new FailureError(parsed.failure);
    // The body of a stream that may be carried on is held for as long as it runs: half of the share is for those.
    const hasRoom = bytesInFlight * 2 <= BODIES_IN_FLIGHT_MAX_BYTES;
    const resumable = hasRoom && whyNotResumable(endpoint.id, json as JsonObject) === null;
    const exact = (json as JsonObject).temperature === 0;
    const { call } = parsed;
    const prompt = blocksOf(promptParts(endpoint.id, json as JsonObject), `${salt}\n${call.model}`);
    const conversation = conversationOf(json as JsonObject) ?? call.endUser;
    return { call, bytes, resumable, exact, prompt, conversation, done };
  } catch (error) {
    done();
    throw error;
  }
}

/** OpenAI's field for requests that share a prefix. */
function conversationOf({ prompt_cache_key: key }: JsonObject): string | null {
  return typeof key === "string" && key !== "" ? key : null;
}

function requireJson(headers: Headers): void {
  const type = headers.get("content-type");
  const encoding = headers.get("content-encoding");
  const json = type === null || /^application\/(?:[a-z0-9.+-]+\+)?json\s*(?:;|$)/i.test(type);
  if (!json || (encoding !== null && encoding !== "identity"))
    throw new FailureError({ tag: "unsupported_media_type" });
}
