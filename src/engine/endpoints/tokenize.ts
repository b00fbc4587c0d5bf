import { MESSAGES_MAX, TOOLS_MAX } from "../../bounds.ts";
import { chatMessage, functionTool } from "../content.ts";
import { engineForbidden, flag, modelName, openaiStripped, text } from "../fields.ts";
import { poolingEndpoint } from "../pooling.ts";
import { invalid, list, type RequestFields } from "../schema.ts";

/**
 * POST /v1/tokenize. Costs no tokens: nothing reaches the GPU, and a client that counts before it asks should not pay
 * twice. Requests per minute bound it. Fields and reasons: docs/endpoints.md.
 */

export const tokenizeFields: RequestFields = {
  passes: {
    model: modelName,
    prompt: text.nullish(),
    messages: list(chatMessage, MESSAGES_MAX, 1).nullish(),
    tools: list(functionTool, TOOLS_MAX, 1).nullish(),
    add_special_tokens: flag,
    add_generation_prompt: flag,
    return_token_strs: flag,
  },
  stripped: openaiStripped,
  forbidden: engineForbidden,
};

export const tokenize = poolingEndpoint({
  id: "tokenize",
  path: "/v1/tokenize",
  enginePath: "/tokenize",
  salted: false,
  fields: tokenizeFields,
  inconsistent(body) {
    const hasPrompt = typeof body.prompt === "string";
    const hasMessages = Array.isArray(body.messages);
    if (hasPrompt && hasMessages) return invalid("messages", "send either 'prompt' or 'messages'.");
    if (hasPrompt || hasMessages) return null;
    return { tag: "invalid_field", param: "prompt", detail: "Missing required parameter: 'prompt'." };
  },
  measure: () => {},
  wholeUsage: () => ({ promptTokens: 0, cachedTokens: 0, outputTokens: 0 }),
});
