import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Replica, startReplica } from "../../../sim/origin/replica.ts";
import { chatBody, post, stream } from "./support/client.ts";

/** Whatever a client sends, the server answers, and with an error of the client's. */
let replica: Replica;
beforeAll(async () => {
  replica = await startReplica({ speed: 10_000, maxModelLen: 512 });
});
afterAll(() => replica.close());

const PATHS = [
  "/v1/chat/completions",
  "/v1/completions",
  "/v1/responses",
  "/v1/messages",
  "/v1/messages/count_tokens",
  "/v1/embeddings",
  "/v1/rerank",
  "/v1/score",
  "/tokenize",
  "/detokenize",
  "/invocations",
];
const FIELDS = [
  "model",
  "messages",
  "prompt",
  "input",
  "max_tokens",
  "max_completion_tokens",
  "max_output_tokens",
  "min_tokens",
  "n",
  "stream",
  "stream_options",
  "stop",
  "stop_sequences",
  "stop_token_ids",
  "temperature",
  "top_p",
  "top_k",
  "logprobs",
  "top_logprobs",
  "tools",
  "tool_choice",
  "response_format",
  "structured_outputs",
  "cache_salt",
  "priority",
  "echo",
  "system",
  "instructions",
  "text",
  "query",
  "documents",
  "text_1",
  "text_2",
  "tokens",
  "continue_final_message",
  "add_generation_prompt",
  "return_token_ids",
  "ignore_eos",
  "dimensions",
  "encoding_format",
  "stream_interval",
];

const message = fc.record(
  {
    role: fc.constantFrom("user", "assistant", "system", "tool", "?"),
    content: fc.oneof(fc.string(), fc.jsonValue()),
  },
  { requiredKeys: [] },
);
const sensible = {
  messages: fc.array(message, { maxLength: 3 }),
  prompt: fc.oneof(
    fc.string(),
    fc.array(fc.nat(30_000), { maxLength: 5 }),
    fc.array(fc.string(), { maxLength: 3 }),
  ),
  input: fc.oneof(fc.string(), fc.array(fc.string(), { maxLength: 3 })),
  max_tokens: fc.integer({ min: -1, max: 20 }),
};
const body = fc
  .tuple(
    fc.record(sensible, { requiredKeys: [] }),
    fc.dictionary(fc.constantFrom(...FIELDS), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4 }),
  )
  .map(([likely, odd]) => ({ ...likely, ...odd }));

test("nonsense is refused, never a server's error", async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...PATHS), body, async (path, nonsense) => {
      const response = await post(replica, path, nonsense);
      const text = await response.text();
      expect(response.status, `${path} ${JSON.stringify(nonsense)} → ${text.slice(0, 300)}`).toBeLessThan(
        500,
      );
    }),
    { numRuns: 700 },
  );
  expect((await stream(replica, chatBody("still there? [len=3]"))).done).toBe(true);
}, 60_000);
