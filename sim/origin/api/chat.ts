/** POST /v1/chat/completions. */
import type { ReplicaOptions } from "../options.ts";
import { readChat } from "./chat-request.ts";
import { ChatWriter } from "./chat-writer.ts";
import { type Plan, randomId } from "./plan.ts";
import { type Body, optional } from "./validate.ts";

/** Reads a request; `requestId` is the client's `X-Request-Id`. Throws `ApiError`. */
export function planChat(body: Body, requestId: string | undefined, options: ReplicaOptions): Plan {
  const chat = readChat(body, options);
  const { common } = chat;
  const id = `chatcmpl-${requestId ?? optional.string(body, "request_id") ?? randomId()}`;
  return {
    id,
    choices: chat.choices,
    promptTokens: chat.promptIds.length,
    stream: common.stream,
    keepAlive: true,
    errorShape: "openai",
    cacheSalt: common.cacheSalt,
    priority: options.priorityScheduling ? common.priority : 0,
    streamInterval: Math.max(common.streamInterval ?? 1, options.streamInterval),
    writer: (noUsage) =>
      new ChatWriter({
        id,
        options,
        chat,
        echo: optional.boolean(body, "echo") === true ? chat.openText : "",
        includeUsage: !noUsage && (common.includeUsage || options.enableForceIncludeUsage),
        continuousUsage: !noUsage && (common.continuousUsage || options.enableForceIncludeUsage),
      }),
  };
}
