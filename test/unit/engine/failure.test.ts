import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { classifyEngineError, forClients, readEngineError } from "../../../src/engine/failure.ts";
import { fixtureJson, fixtureText, recorded } from "./support.ts";

/** What each recorded error of a real vLLM means. */
const MEANINGS: [file: string, kind: string, param: string | null][] = [
  ["error-too-long.json", "refused", "input_tokens"],
  ["error-too-long-stream.json", "refused", "input_tokens"],
  ["error-messages-too-long.json", "refused", null],
  ["error-responses-too-long.json", "refused", "input_tokens"],
  ["error-embeddings-too-long.json", "refused", "input_text"],
  ["error-max-tokens-too-large.json", "refused", "max_tokens"],
  ["error-bad-schema.json", "refused", null],
  ["error-missing-messages.json", "refused", "messages"],
  ["error-wrong-type.json", "refused", "max_tokens"],
  ["error-image-to-text-model.json", "refused", null],
  ["error-tools-off.json", "refused", null],
  ["error-embeddings-on-chat-server.json", "refused", null],
  ["error-unknown-model.json", "failed", null],
  ["error-messages-unknown-model.json", "failed", null],
  ["error-embeddings-unknown-model.json", "failed", null],
  ["error-queue-full.json", "overloaded", null],
  ["error-queue-full-messages.json", "overloaded", null],
  ["error-queue-full-responses-stream.json", "overloaded", null],
  ["error-draining.json", "draining", null],
  ["error-draining-stream.json", "draining", null],
  ["error-unauthorized.json", "failed", null],
  ["error-scale-out-off.json", "failed", null],
  ["error-wrong-method.json", "failed", null],
  ["crash-chat-json.json", "failed", null],
];

describe("recorded errors", () => {
  it.each(MEANINGS)("%s is %s", (file, kind, param) => {
    const { status } = recorded(file);
    const error = readEngineError(status, fixtureJson(file));
    expect(error.message).not.toBe("");
    expect(readEngineError(status, fixtureText(file))).toEqual(error);
    const verdict = classifyEngineError(error);
    expect(verdict.kind).toBe(kind);
    if (verdict.kind !== "refused") return;
    expect(verdict.failure).toMatchObject({ tag: "origin_refused", status, param });
    expect(verdict.failure.message.length).toBeGreaterThan(10);
    expect(verdict.failure.message).not.toMatch(/aliases|--|Restart|https?:/);
  });

  it("keeps the engine's own reason", () => {
    const error = readEngineError(400, fixtureJson("error-too-long.json"));
    expect(forClients(error.message)).toBe(error.message);
  });
});

describe("shapes", () => {
  it.each<[unknown, string]>([
    [{ error: { message: "a", param: "p", code: 400 } }, "a"],
    [{ type: "error", error: { type: "x", message: "b" } }, "b"],
    [{ error: "Unauthorized" }, "Unauthorized"],
    [{ detail: "Not Found" }, "Not Found"],
    [{ detail: [{ loc: ["body"], msg: "m" }] }, '[{"loc":["body"],"msg":"m"}]'],
    ["<html>502</html>", ""],
    ["", ""],
    [null, ""],
    [[], ""],
    [{}, ""],
    [{ error: { message: "x".repeat(9_999) } }, "x".repeat(2_000)],
  ])("%j", (body, message) => {
    expect(readEngineError(500, body)).toMatchObject({ status: 500, message });
  });

  it("says something of every answer, whatever it is", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 100, max: 599 }),
        fc.oneof(fc.jsonValue(), fc.string()),
        (status, body) => {
          const verdict = classifyEngineError(readEngineError(status, body));
          if (verdict.kind === "refused") expect(verdict.failure.message).not.toBe("");
        },
      ),
    );
  });
});

describe("statuses", () => {
  it.each<[number, string]>([
    [400, "refused"],
    [413, "refused"],
    [422, "refused"],
    [401, "failed"],
    [403, "failed"],
    [429, "overloaded"],
    [503, "overloaded"],
    [500, "failed"],
    [502, "failed"],
    [504, "failed"],
    [302, "failed"],
  ])("%i is %s", (status, kind) => {
    expect(classifyEngineError({ status, message: "", param: null }).kind).toBe(kind);
  });
});

describe("what clients are told", () => {
  it.each([
    ["The model `x` is bad. Valid aliases: a, b.", "The model `x` is bad."],
    ["See http://10.1.2.3:8000/docs for more", "See  for more"],
    ["connect to 10.1.2.3:8000 failed", "connect to  failed"],
    ["Start the server with --trust-request-mm-kwargs first. Images are too large.", "Images are too large."],
    ["Restart with --foo", "The model's server did not accept this request."],
    ["a -- b", "a -- b"],
  ])("%s", (message, expected) => {
    expect(forClients(message)).toBe(expected);
  });
});
