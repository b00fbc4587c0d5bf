/** Messages of a chat request: checked, and brought down to plain text for the template. */
import type { PlainMessage } from "../model/template.ts";
import type { ReplicaOptions } from "../options.ts";
import { badRequest } from "./errors.ts";
import { type Body, missing, optional } from "./validate.ts";

/** Reads `messages`. Any role is taken, as in vLLM. */
export function readMessages(body: Body, options: ReplicaOptions): PlainMessage[] {
  if (body.messages === undefined) throw missing(body, "messages");
  const messages = (optional.list(body, "messages") ?? []) as Body[];
  if (messages.length === 0) {
    throw badRequest("Cannot apply chat template to an empty conversation. Provide at least one message.");
  }
  return messages.map((message, index) => {
    if (message === null || typeof message !== "object" || typeof message.role !== "string") {
      throw missing(message ?? {}, `messages.${index}.role`);
    }
    return { role: message.role, content: readContent(message, options) };
  });
}

/** How the prompt ends: with the header of a new answer, or with the last message left open. */
export function readOpening(body: Body): "answer" | "continue" | "none" {
  const proceed = optional.boolean(body, "continue_final_message") ?? false;
  const generate = optional.boolean(body, "add_generation_prompt");
  if (proceed && generate === true) {
    throw badRequest("Cannot set both `continue_final_message` and `add_generation_prompt` to True.");
  }
  // The default of true is found only by the chat template, which has other words for it.
  if (proceed && generate === undefined) {
    throw badRequest(
      "continue_final_message and add_generation_prompt are not compatible. Use continue_final_message when you want " +
        "the model to continue the final message, and add_generation_prompt when you want to add a header that will " +
        "prompt it to start a new assistant message instead.",
    );
  }
  if (proceed) return "continue";
  return generate === false ? "none" : "answer";
}

export function lastUserText(messages: readonly PlainMessage[]): string {
  return messages.findLast((message) => message.role === "user")?.content ?? "";
}

function readContent(message: Body, options: ReplicaOptions): string {
  const { content } = message;
  const calls = Array.isArray(message.tool_calls) ? JSON.stringify(message.tool_calls) : "";
  if (content === undefined || content === null) return calls;
  if (typeof content === "string") return content + calls;
  if (!Array.isArray(content)) throw badRequest("Unknown content type");
  const texts = content.map((part: Body | string) => {
    if (typeof part === "string") return part;
    if (typeof part.text === "string") return part.text;
    throw badRequest(`${options.model} is not a multimodal model`);
  });
  return texts.join("\n") + calls;
}
