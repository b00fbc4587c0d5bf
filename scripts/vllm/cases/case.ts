/** One recorded request. Its name is the fixture's file name without the ending. */
export interface Case {
  name: string;
  path: string;
  /** What the fixture shows, for the index. */
  shows: string;
  /** GET without, POST with. A string is sent as it is. */
  body?: unknown;
  headers?: Record<string, string>;
  /** Sent once unrecorded before, so that the recorded answer finds its prompt in the prefix cache. */
  warm?: boolean;
}

export const CAPITAL = [{ role: "user", content: "What is the capital of France?" }];
export const STORY = [{ role: "user", content: "Tell me a long story about a lighthouse keeper." }];

/** More words than the context has tokens. */
export const TOO_LONG = "word ".repeat(2100);
/** Longer than one KV block (128 tokens on a CPU), so that a second request finds it in the prefix cache. */
export const LONG_PROMPT = "The lighthouse stood on the rock and its lamp turned all night. ".repeat(12);

export const WEATHER = {
  name: "get_weather",
  description: "The weather in a city",
  parameters: {
    type: "object",
    properties: { city: { type: "string", maxLength: 12 }, unit: { type: "string", enum: ["C", "F"] } },
    required: ["city", "unit"],
    additionalProperties: false,
  },
};

/** A greedy chat request, so that a recording can be repeated. */
export function chat(fields: Record<string, unknown>): Record<string, unknown> {
  return { model: "smol", temperature: 0, max_tokens: 12, messages: CAPITAL, ...fields };
}

export const USAGE = { stream: true, stream_options: { include_usage: true } };
export const CONTINUOUS = {
  stream: true,
  stream_options: { include_usage: true, continuous_usage_stats: true },
};

/** Characters of two and three tokens each, and two ways to make the model say them. */
export const EMOJI_TEXT = "Hi 😀 日本 🎉 bye";
export const SAY_EMOJI = { structured_outputs: { choice: [EMOJI_TEXT] } };
/** /v1/messages does not know structured_outputs: a schema with one value does the same. */
export const SAY_EMOJI_MESSAGES = {
  output_config: { format: { type: "json_schema", schema: { type: "string", enum: [EMOJI_TEXT] } } },
};
