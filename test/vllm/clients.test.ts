import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planFromFile } from "../../sim/stack/plan.ts";
import { eventually, type TestStack, testStack } from "../support/stack.ts";

/**
 * The client tests against a real vLLM: `npm run vllm`, then MERIDIAN_VLLM_URL=http://127.0.0.1:8801 npm run test:vllm.
 * Whatever differs here from the simulator is a bug of the simulator.
 */
const url = process.env.MERIDIAN_VLLM_URL;
if (!url)
  process.stderr.write(
    "test/vllm: skipped, MERIDIAN_VLLM_URL names no real vLLM (npm run vllm starts one)\n",
  );

const QUESTION = [{ role: "user" as const, content: "What is the capital of France?" }];

describe.skipIf(!url)("a real vLLM behind the edge", () => {
  let stack: TestStack;
  let model: string;
  let dir: string;

  beforeAll(async () => {
    const listed = (await (await fetch(`${url}/v1/models`)).json()) as {
      data: { id: string; max_model_len: number }[];
    };
    const { id, max_model_len: contextTokens } = listed.data[0]!;
    model = id;
    dir = mkdtempSync(join(tmpdir(), "meridian-vllm-"));
    const file = join(dir, "origins.json");
    const models = [{ id, contextTokens, firstTokenTimeoutMs: 60_000, tokenGapTimeoutMs: 60_000 }];
    writeFileSync(
      file,
      JSON.stringify({ models, regions: { "us-east": { urls: [url], concurrencyPerReplica: 8 } } }),
    );
    stack = await testStack({ plan: planFromFile(file) });
  }, 60_000);
  afterAll(async () => {
    await stack?.end();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });

  /** Runs `work` and returns what the tenant was charged for it once nothing is open any more. */
  async function charged(work: () => Promise<void>): Promise<{ promptTokens: number; outputTokens: number }> {
    const before = (
      await eventually(
        () => stack.usage(),
        ({ open }) => open.reservations === 0,
      )
    ).totals;
    await work();
    const { totals } = await eventually(
      () => stack.usage(),
      ({ totals, open }) => open.reservations === 0 && totals.requests > before.requests,
    );
    return {
      promptTokens: totals.promptTokens - before.promptTokens,
      outputTokens: totals.outputTokens - before.outputTokens,
    };
  }

  it("streams a chat as text and charges what the engine says", async () => {
    let text = "";
    let told: unknown = null;
    const bill = await charged(async () => {
      const stream = await stack.openai().chat.completions.create({
        model,
        messages: QUESTION,
        temperature: 0,
        max_tokens: 24,
        stream: true,
        stream_options: { include_usage: true },
      });
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta?.content ?? "";
        if (chunk.usage)
          told = { promptTokens: chunk.usage.prompt_tokens, outputTokens: chunk.usage.completion_tokens };
      }
    });
    expect(text).toContain("Paris");
    expect(bill).toEqual(told);
  });

  it("aggregates the same answer as the engine's own JSON, field by field", async () => {
    const body = { model, messages: QUESTION, temperature: 0, max_tokens: 24 };
    const direct = (await (
      await fetch(`${url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      })
    ).json()) as Record<string, unknown>;
    const through = (await (await stack.post("/v1/chat/completions", body)).json()) as Record<
      string,
      unknown
    >;
    for (const varying of ["id", "created", "usage"]) {
      delete direct[varying];
      delete through[varying];
    }
    expect(through).toEqual(direct);
  });

  it("shows usage only to who asked for it", async () => {
    const stream = await stack
      .openai()
      .chat.completions.create({ model, messages: QUESTION, max_tokens: 4, stream: true });
    for await (const chunk of stream) expect(chunk.usage ?? null).toBeNull();
  });

  it("answers completions, responses and Anthropic messages, streamed and not", async () => {
    const openai = stack.openai();
    const completion = await openai.completions.create({
      model,
      prompt: "The capital of France is",
      temperature: 0,
      max_tokens: 5,
    });
    expect(completion.choices[0]!.text).toContain("Paris");
    const response = await openai.responses.create({
      model,
      input: QUESTION[0]!.content,
      temperature: 0,
      max_output_tokens: 24,
    });
    expect(response.output_text).toContain("Paris");
    let streamed = "";
    const events = await openai.responses.create({
      model,
      input: QUESTION[0]!.content,
      temperature: 0,
      max_output_tokens: 24,
      stream: true,
    });
    for await (const event of events)
      if (event.type === "response.output_text.delta") streamed += event.delta;
    expect(streamed).toBe(response.output_text);
    const ask = { model, max_tokens: 24, temperature: 0, messages: QUESTION };
    const message = await stack.anthropic().messages.create(ask);
    const again = await stack.anthropic().messages.stream(ask).finalMessage();
    expect(again.content).toEqual(message.content);
    expect(again.usage.output_tokens).toBe(message.usage.output_tokens);
  });

  it("tokenizes for nothing", async () => {
    const bill = await charged(async () => {
      const answer = await stack.post("/v1/tokenize", { model, prompt: "The capital of France" });
      expect(((await answer.json()) as { count: number }).count).toBeGreaterThan(2);
    });
    expect(bill).toEqual({ promptTokens: 0, outputTokens: 0 });
  });

  it("frees the engine within a second of a client's leaving, and charges what it had emitted", async () => {
    let chunks = 0;
    const bill = await charged(async () => {
      const stream = await stack.openai().chat.completions.create({
        model,
        messages: [{ role: "user", content: "Count from one to one hundred in words." }],
        max_tokens: 400,
        stream: true,
      });
      for await (const _ of stream) {
        chunks += 1;
        if (chunks === 8) break;
      }
    });
    const running = async () =>
      /num_requests_running\{[^}]*\} ([\d.]+)/.exec(await (await fetch(`${url}/metrics`)).text())?.[1];
    expect(await eventually(running, (value) => Number(value) === 0, 5_000)).toMatch(/^0/);
    expect(bill.outputTokens).toBeGreaterThanOrEqual(chunks - 2);
    expect(bill.outputTokens).toBeLessThan(100);
  });

  it("passes the engine's own refusals on, and charges nothing", async () => {
    const tooLong = await stack.post("/v1/chat/completions", {
      model,
      messages: [{ role: "user", content: "word ".repeat(8_000) }],
    });
    expect(tooLong.status).toBe(400);
    const { error } = (await tooLong.json()) as { error: { message: string; type: string } };
    expect(error.type).toBe("invalid_request_error");
    expect(error.message).toContain("context length");
    const { open } = await eventually(
      () => stack.usage(),
      ({ open }) => open.reservations === 0,
    );
    expect(open.reservedTokens).toBe(0);
  });
});
