import type { EndpointId, JsonObject } from "./endpoint.ts";
import { isJsonObject } from "./schema.ts";

/**
 * A prompt's texts in the order in which a chat template puts them before the model, as far as that is common to
 * templates: tools first, then messages. What is equal at the beginning of two requests is equal here, and the reverse;
 * no engine sees this text. Nothing for endpoints whose work no engine caches. `body` was accepted by `parse`.
 */
export function* promptParts(endpoint: EndpointId, body: JsonObject): Generator<string> {
  switch (endpoint) {
    case "chat":
      yield* tools(body.tools);
      yield* messages(body.messages);
      return;
    case "messages":
      yield* tools(body.tools);
      yield* content(body.system);
      yield* messages(body.messages);
      return;
    case "responses":
      yield* tools(body.tools);
      yield* content(body.instructions);
      if (typeof body.input === "string") yield body.input;
      else yield* messages(body.input);
      return;
    case "completions":
      yield* firstPrompt(body.prompt);
      return;
    default:
      return;
  }
}

function* tools(value: unknown): Generator<string> {
  if (Array.isArray(value) && value.length > 0) yield JSON.stringify(value);
}

function* messages(value: unknown): Generator<string> {
  if (!Array.isArray(value)) return;
  for (const message of value) {
    if (!isJsonObject(message)) continue;
    // A template frames each message by who speaks.
    yield `\n${String(message.role ?? message.type ?? "")}\n`;
    yield* content(message.reasoning);
    yield* content(message.content);
    for (const key of ["tool_calls", "arguments", "output", "summary"]) {
      const part = message[key];
      if (part !== undefined && part !== null) yield typeof part === "string" ? part : JSON.stringify(part);
    }
  }
}

function* content(value: unknown): Generator<string> {
  if (typeof value === "string") yield value;
  else if (Array.isArray(value)) for (const part of value) yield partText(part);
}

/** Text as it is; media by their source, which differs where they differ. */
function partText(part: unknown): string {
  if (typeof part === "string") return part;
  if (isJsonObject(part) && typeof part.text === "string") return part.text;
  return JSON.stringify(part) ?? "";
}

/** Of several prompts in one request the first: it is the one that the others most likely share a beginning with. */
function* firstPrompt(prompt: unknown): Generator<string> {
  if (typeof prompt === "string") yield prompt;
  else if (Array.isArray(prompt)) {
    const [first] = prompt;
    if (typeof first === "string") yield first;
    else yield (Array.isArray(first) ? first : prompt).join(" ");
  }
}
