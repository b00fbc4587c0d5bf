/** POST /v1/responses. Nothing is stored, as in a vLLM without VLLM_ENABLE_RESPONSES_API_STORE. */
import type { ReplicaOptions } from "../options.ts";
import { readChat } from "./chat-request.ts";
import { ApiError, badRequest } from "./errors.ts";
import { type Plan, randomId } from "./plan.ts";
import { ResponsesWriter } from "./responses-writer.ts";
import { type Body, missing, optional } from "./validate.ts";

/** Reads a request. vLLM does not make the response's id from `X-Request-Id`. Throws `ApiError`. */
export function planResponses(body: Body, _requestId: string | undefined, options: ReplicaOptions): Plan {
  if (body.input === undefined) throw missing(body, "input");
  const previous = optional.string(body, "previous_response_id");
  if (previous !== undefined) throw responseNotFound(previous);
  const chat = readChat(toChatBody(body), options);
  const id = optional.string(body, "request_id") ?? `resp_${randomId()}`;
  return {
    id,
    choices: chat.choices,
    promptTokens: chat.promptIds.length,
    stream: chat.common.stream,
    keepAlive: false,
    errorShape: "openai",
    cacheSalt: chat.common.cacheSalt,
    priority: options.priorityScheduling ? chat.common.priority : 0,
    streamInterval: options.streamInterval,
    writer: (noUsage) => new ResponsesWriter({ id, body, options, chat, noUsage }),
  };
}

/** What reading, cancelling or following an unknown response answers. */
export function responseNotFound(id: string): ApiError {
  return new ApiError(404, "invalid_request_error", `Response with id '${id}' not found.`, "response_id");
}

function toChatBody(body: Body): Body {
  const instructions = optional.string(body, "instructions");
  const system = instructions === undefined ? [] : [{ role: "system", content: instructions }];
  const tools = optional.list(body, "tools") as Body[] | undefined;
  const hasTools = tools !== undefined && tools.length > 0;
  const text = optional.record(body, "text")?.format as Body | undefined;
  return {
    messages: [...system, ...toMessages(body.input)],
    max_completion_tokens: body.max_output_tokens,
    stream: body.stream,
    temperature: body.temperature,
    top_p: body.top_p,
    presence_penalty: body.presence_penalty,
    frequency_penalty: body.frequency_penalty,
    stop: body.stop,
    include_stop_str_in_output: body.include_stop_str_in_output,
    cache_salt: body.cache_salt,
    priority: body.priority,
    ...(text?.type === "json_schema" ? { response_format: { type: "json_schema", json_schema: text } } : {}),
    ...(text?.type === "json_object" ? { response_format: text } : {}),
    ...(hasTools ? { tools: tools.map(toFunction), tool_choice: toToolChoice(body.tool_choice) } : {}),
    ...(!hasTools && body.tool_choice === "required" ? refuseChoice() : {}),
  };
}

function refuseChoice(): never {
  throw badRequest("Tool choice 'required' must be specified with 'tools' parameter.", "tool_choice");
}

function toMessages(input: unknown): Body[] {
  if (typeof input === "string") return [{ role: "user", content: input }];
  if (!Array.isArray(input)) throw badRequest("input must be a string or a list", "input");
  return (input as Body[]).map((item) => {
    if (item.type === "function_call") return { role: "assistant", content: JSON.stringify(item) };
    if (item.type === "function_call_output") return { role: "tool", content: String(item.output) };
    return { role: item.role ?? "user", content: item.content };
  });
}

function toFunction(tool: Body): Body {
  const { name, description, parameters } = tool;
  return { type: "function", function: { name, description, parameters } };
}

function toToolChoice(choice: unknown): unknown {
  if (choice === undefined || typeof choice === "string") return choice ?? "auto";
  return { type: "function", function: { name: (choice as Body).name } };
}
