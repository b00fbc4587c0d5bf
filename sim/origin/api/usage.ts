/** Usage objects, with the keys that vLLM sets in each place. */

/** `prompt_tokens_details` of a chat; vLLM 0.32 always says that no cache tokens were created. */
export function cacheDetails(cachedTokens: number): object {
  return { cached_tokens: cachedTokens, created_cache_tokens: 0 };
}

/** Running usage inside a stream of text completions. */
export function chunkUsage(promptTokens: number, completionTokens: number): object {
  return {
    prompt_tokens: promptTokens,
    total_tokens: promptTokens + completionTokens,
    completion_tokens: completionTokens,
  };
}

/** Running usage inside a stream of chat chunks. */
export function chatChunkUsage(promptTokens: number, completionTokens: number): object {
  return { ...chunkUsage(promptTokens, completionTokens), completion_tokens_details: null };
}

/** Usage of the last chunk: nulls are left out. */
export function finalUsage(promptTokens: number, completionTokens: number, details: object | null): object {
  const usage = chunkUsage(promptTokens, completionTokens);
  return details === null ? usage : { ...usage, prompt_tokens_details: details };
}

/** Usage of an answer that is not streamed: everything is spelled out. */
export function fullUsage(promptTokens: number, completionTokens: number, details: object | null): object {
  const none = { cached_tokens: null, created_cache_tokens: null, multimodal_tokens: null };
  return {
    ...chunkUsage(promptTokens, completionTokens),
    prompt_tokens_details: details === null ? null : { ...none, ...details },
    completion_tokens_details: null,
  };
}
