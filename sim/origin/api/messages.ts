/** POST /v1/messages and /v1/messages/count_tokens: Anthropic's API, which vLLM maps onto its chat API. */
import type { ReplicaOptions } from "../options.ts";
import { readChat } from "./chat-request.ts";
import { MessagesWriter } from "./messages-writer.ts";
import { type Plan, randomId } from "./plan.ts";
import { type Body, missing, optional, valueError } from "./validate.ts";

/** Reads a request; `requestId` is the client's `X-Request-Id`. Throws `ApiError`. */
export function planMessages(body: Body, requestId: string | undefined, options: ReplicaOptions): Plan {
  for (const field of ["model", "messages", "max_tokens"])
    if (body[field] === undefined) throw missing(body, field);
  const maxTokens = optional.integer(body, "max_tokens") ?? 0;
  if (maxTokens <= 0) throw valueError("max_tokens", "max_tokens must be positive", body.max_tokens);
  const chat = readChat(toChatBody(body), options);
  const id = `chatcmpl-${requestId ?? randomId()}`;
  return {
    id,
    choices: chat.choices,
    promptTokens: chat.promptIds.length,
    stream: chat.common.stream,
    keepAlive: false,
    errorShape: "anthropic",
    cacheSalt: chat.common.cacheSalt,
    priority: 0,
    streamInterval: options.streamInterval,
    writer: (noUsage) => new MessagesWriter({ id, options, chat, noUsage }),
  };
}

/** The size of a prompt, without running it. */
export function countTokens(body: Body, options: ReplicaOptions): object {
  for (const field of ["model", "messages"]) if (body[field] === undefined) throw missing(body, field);
  const tokens = readChat(toChatBody({ ...body, max_tokens: 1 }), options).promptIds.length;
  return { input_tokens: tokens, context_management: { original_input_tokens: tokens } };
}

function toChatBody(body: Body): Body {
  const system = body.system === undefined ? [] : [{ role: "system", content: toText(body.system) }];
  const messages = ((optional.list(body, "messages") ?? []) as Body[]).map((message) => ({
    role: message.role,
    content: toText(message.content),
  }));
  const tools = optional.list(body, "tools") as Body[] | undefined;
  return {
    messages: [...system, ...messages],
    max_tokens: body.max_tokens,
    stop: body.stop_sequences,
    stream: body.stream,
    temperature: body.temperature,
    top_p: body.top_p,
    top_k: body.top_k,
    cache_salt: body.cache_salt,
    ...(tools === undefined
      ? {}
      : { tools: tools.map(toFunction), tool_choice: toToolChoice(body.tool_choice) }),
  };
}

/** Blocks that are not text reach the template as JSON; pictures stay parts, and are refused as in a chat. */
function toText(content: unknown): unknown {
  if (!Array.isArray(content)) return content;
  const blocks = content as Body[];
  if (blocks.some((block) => block.type === "image")) return blocks;
  return blocks
    .map((block) => (block.type === "text" ? String(block.text) : JSON.stringify(block)))
    .join("\n");
}

function toFunction(tool: Body): Body {
  const { name, description, input_schema } = tool;
  return { type: "function", function: { name, description, parameters: input_schema } };
}

function toToolChoice(choice: unknown): unknown {
  const { type, name } = (choice ?? { type: "auto" }) as { type: string; name?: string };
  if (type === "any") return "required";
  return type === "tool" ? { type: "function", function: { name } } : type;
}
