import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { BODY_MAX_BYTES, CHOICES_MAX, JSON_DEPTH_MAX } from "../../src/bounds.ts";
import { settledUsage } from "../support/books.ts";
import { expectNoTrace, expectRefusal, expectUntouched, type Refusal } from "../support/refusals.ts";
import { rawPost, sendRaw } from "../support/socket.ts";
import { type TestStack, testStack } from "../support/stack.ts";

/** Each malformed body gets the right status in the right shape on every endpoint, and costs nothing. */
let stack: TestStack;
let key: string;
beforeAll(async () => {
  stack = await testStack({ simArgs: ["--speed", "10"] });
  key = await stack.tenant("careless", { tokensPerMinute: 1_000_000, requestsPerMinute: 10_000 });
});
afterAll(() => stack?.end());

const CANARY = "canary-prompt-5d1c";
const CHAT = "/v1/chat/completions";
const MESSAGES = [{ role: "user", content: CANARY }];
type Body = Record<string, unknown>;

/** What each endpoint would accept. */
const BODIES: Record<string, Body> = {
  [CHAT]: { model: "sim-chat", messages: MESSAGES },
  "/v1/completions": { model: "sim-chat", prompt: CANARY },
  "/v1/responses": { model: "sim-chat", input: CANARY },
  "/v1/messages": { model: "sim-chat", max_tokens: 5, messages: MESSAGES },
  "/v1/embeddings": { model: "sim-embed", input: CANARY },
  "/v1/rerank": { model: "sim-embed", query: CANARY, documents: [CANARY] },
  "/v1/score": { model: "sim-embed", text_1: CANARY, text_2: CANARY },
  "/v1/tokenize": { model: "sim-chat", prompt: CANARY },
};
const PATHS = Object.keys(BODIES);

const badJson: Refusal = { status: 400, code: "invalid_json", param: null };
const unsupported: Refusal = { status: 415, code: "unsupported_media_type", param: null };
const noSuchModel: Refusal = { status: 404, code: "model_not_found", param: "model" };
const invalid = (param: string): Refusal => ({ status: 400, code: "invalid_value", param });
const unknown = (param: string): Refusal => ({ status: 400, code: "unknown_parameter", param });
const forbidden = (param: string): Refusal => ({ status: 400, code: "forbidden_parameter", param });

const json = (body: unknown) => JSON.stringify(body);
const nested = (levels: number) => `${"[".repeat(levels)}${"]".repeat(levels)}`;
/** The body with one more field, whose value is given as JSON text. */
const withField = (body: Body, field: string, value: string) =>
  `${json(body).slice(0, -1)},"${field}":${value}}`;
const withoutModel = ({ model: _, ...rest }: Body) => rest;

type Row = readonly [name: string, make: (body: Body) => string | Uint8Array | Body, refusal: Refusal];

/** Of every endpoint. */
const BODY_ROWS: readonly Row[] = [
  ["half a JSON", (body) => json(body).slice(0, -2), badJson],
  ["a text that is no JSON", () => CANARY, badJson],
  ["two JSONs", (body) => json(body) + json(body), badJson],
  ["nothing", () => "", badJson],
  ["a list", (body) => json([body]), badJson],
  ["null", () => "null", badJson],
  ["a text", () => json(CANARY), badJson],
  ["NaN", (body) => withField(body, "temperature", "NaN"), badJson],
  ["a byte order mark", (body) => `\ufeff${json(body)}`, badJson],
  ["not UTF-8", (body) => Buffer.from(json(body).replace("canary", "canar\xff"), "latin1"), badJson],
  ["one level too deep", (body) => withField(body, "metadata", nested(JSON_DEPTH_MAX)), badJson],
  ["100,000 levels", (body) => withField(body, "metadata", nested(100_000)), badJson],
  ["no model", withoutModel, invalid("model")],
  ["a number as the model", (body) => ({ ...body, model: 5 }), invalid("model")],
  ["an empty model", (body) => ({ ...body, model: "" }), invalid("model")],
  ["an unknown model", (body) => ({ ...body, model: "gpt-9" }), noSuchModel],
  ["a URL as the model", (body) => ({ ...body, model: "http://10.0.0.1/v1" }), noSuchModel],
  ["a model with a line break", (body) => ({ ...body, model: "sim-chat\r\nx-a: b" }), noSuchModel],
  ["an unknown field", (body) => ({ ...body, temperatur: 1 }), unknown("temperatur")],
  ["a base URL", (body) => ({ ...body, base_url: "http://10.0.0.1" }), unknown("base_url")],
  ["a prototype", (body) => withField(body, "__proto__", "{}"), unknown("__proto__")],
];

const DANGEROUS = [
  ...[
    "chat_template",
    "chat_template_kwargs",
    "kv_transfer_params",
    "mm_processor_kwargs",
    "media_io_kwargs",
  ],
  ...[
    "vllm_xargs",
    "request_id",
    "cache_salt",
    "ignore_eos",
    "priority",
    "structured_outputs",
    "guided_regex",
  ],
];

const CONTENT_TYPES: readonly Record<string, string>[] = [
  { "content-type": "text/plain" },
  { "content-type": "multipart/form-data; boundary=x" },
  { "content-type": "application/jsonl" },
  { "content-type": "application/json-seq" },
  { "content-encoding": "gzip" },
];

const picture = (url: string) => [{ role: "user", content: [{ type: "image_url", image_url: { url } }] }];
const urlParam = "messages[0].content[0].image_url.url";
/** Of one endpoint: the field's name, its value as JSON text, and what is told. */
type FieldRow = readonly [path: string, field: string, value: string, refusal: Refusal];
const FIELD_ROWS: readonly FieldRow[] = [
  ...["0", "-1", "1.5", `${CHOICES_MAX + 1}`, "1e9", "1152921504606846976", '"2"'].flatMap(
    (n): FieldRow[] => [
      [CHAT, "n", n, invalid("n")],
      ["/v1/completions", "n", n, invalid("n")],
    ],
  ),
  ...["0", "-1", "1152921504606846976", "1e308", "1e999", '"9"', "[]"].flatMap((most): FieldRow[] => [
    [CHAT, "max_tokens", most, invalid("max_tokens")],
    ["/v1/responses", "max_output_tokens", most, invalid("max_output_tokens")],
    ["/v1/messages", "max_tokens", most, invalid("max_tokens")],
  ]),
  ...["1e308", "-1e308", "1e999", '"NaN"', "true"].map(
    (value): FieldRow => [CHAT, "temperature", value, invalid("temperature")],
  ),
  [CHAT, "seed", "1152921504606846976", invalid("seed")],
  [CHAT, "logit_bias", '{"1":1e308}', invalid("logit_bias")],
  [CHAT, "stream", '"yes"', invalid("stream")],
  [CHAT, "messages", "[]", invalid("messages")],
  [CHAT, "messages", '[{"role":"owner","content":"x"}]', invalid("messages[0].role")],
  [CHAT, "messages", '[{"role":"user","content":"x","__proto__":{}}]', unknown("messages[0].__proto__")],
  [CHAT, "messages", json(picture("http://169.254.169.254/latest")), forbidden(urlParam)],
  [CHAT, "messages", json(picture("data:image/png,http://10.0.0.1/")), forbidden(urlParam)],
  [CHAT, "messages", json(picture("file:///etc/passwd")), forbidden(urlParam)],
  [CHAT, "stream_options", '{"include_usage":true}', invalid("stream_options")],
  [CHAT, "model", '"sim-embed"', { status: 400, code: "wrong_model_kind", param: "model" }],
  ["/v1/messages", "model", '"sim-embed"', { status: 400, code: "wrong_model_kind", param: "model" }],
  ["/v1/embeddings", "model", '"sim-chat"', { status: 400, code: "wrong_model_kind", param: "model" }],
  ["/v1/rerank", "model", '"sim-chat"', { status: 400, code: "wrong_model_kind", param: "model" }],
  ["/v1/completions", "prompt", json(Array(CHOICES_MAX + 1).fill("x")), invalid("prompt")],
  ["/v1/completions", "prompt", "[1,-1]", invalid("prompt")],
  ["/v1/embeddings", "input", "[]", invalid("input")],
  ["/v1/score", "text_2", "null", invalid("text_2")],
];

async function refused(path: string, sent: string | Uint8Array | Body, refusal: Refusal, headers = {}) {
  const response = await stack.post(path, sent, { authorization: `Bearer ${key}`, ...headers });
  const told = await expectRefusal(response, path, refusal);
  expect(told).not.toContain(CANARY);
  expect(response.headers.get("x-request-id")).toMatch(/^req_[0-9A-Za-z]{22}$/);
}

describe("refused, and the tenant's books are untouched", () => {
  afterEach(() => expectUntouched(stack, "careless"));
  afterAll(async () => expect((await stack.ledgers()).entries).toEqual([]));

  describe.each(PATHS)("%s", (path) => {
    const body = BODIES[path]!;
    it.each(BODY_ROWS)("%s", (_name, make, refusal) => refused(path, make(body), refusal));

    it.each(CONTENT_TYPES)("%j", (headers) => {
      const zipped = "content-encoding" in headers;
      return refused(path, zipped ? gzipSync(json(body)) : body, unsupported, headers);
    });

    it.each(DANGEROUS)("%s", (field) => refused(path, { ...body, [field]: { a: 1 } }, forbidden(field)));
  });

  it.each(FIELD_ROWS)("%s with %s: %s", (path, field, value, refusal) => {
    const { [field]: _, ...rest } = BODIES[path]!;
    return refused(path, withField(rest, field, value), refusal);
  });

  const LARGE = json({ model: "sim-chat", messages: MESSAGES, user: "x".repeat(BODY_MAX_BYTES + 2 ** 20) });
  const tooLarge: Refusal = { status: 413, code: "body_too_large", param: null };
  it.each([CHAT, "/v1/messages"])("9 MiB on %s, with its length", (path) => refused(path, LARGE, tooLarge));

  it("9 MiB in chunks, without its length", async () => {
    const chunks = {
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: inChunks(LARGE),
    };
    const response = await fetch(`${stack.info.baseUrl}${CHAT}`, {
      method: "POST",
      duplex: "half",
      ...chunks,
    } as RequestInit);
    await expectRefusal(response, CHAT, tooLarge);
  });

  it("15 MiB of whose first byte nobody has read: the answer is there when all is sent", async () => {
    const port = Number(new URL(stack.info.baseUrl).port);
    const body = { user: "x".repeat(15 * 2 ** 20) };
    const refusals = [
      [CHAT, "mrd_wrong", 401],
      [CHAT, key, 413],
      ["/v1/nothing", key, 404],
    ] as const;
    for (const [path, bearer, status] of refusals) {
      expect((await sendRaw(port, rawPost(path, bearer, body))).status).toBe(status);
    }
  });
});

const CHUNK_CHARS = 64 * 1024;
function inChunks(text: string): ReadableStream {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= text.length) return controller.close();
      controller.enqueue(new TextEncoder().encode(text.slice(at, at + CHUNK_CHARS)));
      at += CHUNK_CHARS;
    },
  });
}

it("takes the same bodies when nothing is wrong with them, and charges those", async () => {
  for (const path of PATHS) {
    const response = await stack.post(path, BODIES[path], { authorization: `Bearer ${key}` });
    expect([path, response.status, await response.text()]).toEqual([path, 200, expect.anything()]);
  }
  const deep = withField(BODIES[CHAT]!, "prediction", nested(JSON_DEPTH_MAX - 1));
  expect((await stack.post(CHAT, deep, { authorization: `Bearer ${key}` })).status).toBe(200);
  const { totals } = await settledUsage(stack, "careless");
  expect(totals).toMatchObject({ requests: PATHS.length + 1, promptTokens: expect.toSatisfy((n) => n > 20) });
});

it("leaves no prompt and no key in any log, metric or audit entry", () =>
  expectNoTrace(stack, [CANARY, key]));
