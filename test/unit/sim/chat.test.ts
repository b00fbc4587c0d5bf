import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encode } from "../../../sim/origin/model/tokenizer.ts";
import { type Replica, startReplica } from "../../../sim/origin/replica.ts";
import { type Chunk, chatBody, post, type Received, stream, streamUntilCut } from "./support/client.ts";

let replica: Replica;
let plain: Replica;
beforeAll(async () => {
  replica = await startReplica({ speed: 1000 });
  plain = await startReplica({ speed: 1000, enableAutoToolChoice: false });
});
afterAll(async () => {
  await replica.close();
  await plain.close();
});

const usageOf = ({ chunks }: Received) => chunks.at(-1)?.usage;
const finishOf = ({ chunks }: Received) =>
  chunks.find((chunk) => chunk.choices[0]?.finish_reason)?.choices[0];
const ask = (content: string, more: object = {}, at = replica) => stream(at, chatBody(content, more));

describe("length and stops", () => {
  test("the end token is billed and has no text", async () => {
    const answer = await ask("Say it. [len=25]");
    expect(encode(answer.text)).toHaveLength(25);
    expect(usageOf(answer)?.completion_tokens).toBe(26);
    expect(finishOf(answer)).toMatchObject({ finish_reason: "stop", stop_reason: null });
  });

  test("max_tokens, and max_completion_tokens before it", async () => {
    const answer = await ask("Say it. [len=25]", { max_tokens: 10 });
    expect([finishOf(answer)?.finish_reason, usageOf(answer)?.completion_tokens]).toEqual(["length", 10]);
    expect(
      usageOf(await ask("Say it. [len=25]", { max_tokens: 10, max_completion_tokens: 6 }))?.completion_tokens,
    ).toBe(6);
  });

  test("prompt and max_tokens beyond the context are clamped in silence", async () => {
    const small = await startReplica({ speed: 1000, maxModelLen: 64 });
    const answer = await stream(small, chatBody("one two three [len=999]", { max_tokens: 60 }));
    const { prompt_tokens, completion_tokens } = usageOf(answer)!;
    expect(prompt_tokens + completion_tokens).toBe(64);
    expect(finishOf(answer)?.finish_reason).toBe("length");
    await small.close();
  });

  test("a stop string that spans tokens, with and without itself in the text", async () => {
    const whole = (await ask("Say it. [len=60]")).text;
    // From the middle of one word into the middle of the next.
    const at = whole.indexOf(" ", 40);
    const stop = whole.slice(at - 2, at + 3);
    const cut = await ask("Say it. [len=60]", { stop: [stop, "never said"] });
    expect(cut.text).toBe(whole.slice(0, whole.indexOf(stop)));
    expect(finishOf(cut)).toMatchObject({ finish_reason: "stop", stop_reason: stop });
    const kept = await ask("Say it. [len=60]", { stop, include_stop_str_in_output: true });
    expect(kept.text).toBe(whole.slice(0, whole.indexOf(stop) + stop.length));
    // What may still become the stop string is held back.
    const texts = cut.chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "");
    let sent = "";
    for (const text of texts.slice(0, -2)) {
      sent += text;
      expect(whole.slice(0, sent.length + stop.length - 1)).not.toContain(stop);
    }
  });

  test("stop_token_ids, min_tokens, ignore_eos", async () => {
    const ids = encode((await ask("Say it. [len=30]")).text);
    const id = ids[12]!;
    const stopped = await ask("Say it. [len=30]", { stop_token_ids: [id] });
    expect(finishOf(stopped)).toMatchObject({ finish_reason: "stop", stop_reason: id });
    expect(usageOf(stopped)?.completion_tokens).toBe(ids.indexOf(id) + 1);
    expect(usageOf(await ask("Say it. [len=5]", { min_tokens: 40 }))?.completion_tokens).toBeGreaterThan(40);
    expect(
      usageOf(await ask("Say it. [len=5]", { ignore_eos: true, max_tokens: 50 }))?.completion_tokens,
    ).toBe(50);
  });
});

describe("frames", () => {
  test("without a parser every token has a frame; with one, frames without text are left out", async () => {
    const emoji = { structured_outputs: { choice: ["Hi 😀 龘 bye"] } };
    const all = await ask("x", emoji, plain);
    expect(
      all.chunks.filter((chunk) => chunk.choices[0]?.delta.content === "").length,
    ).toBeGreaterThanOrEqual(4);
    expect(all.text).toBe("Hi 😀 龘 bye");
    const some = await ask("x", emoji);
    expect(some.text).toBe("Hi 😀 龘 bye");
    expect(some.chunks.length).toBeLessThan(all.chunks.length);
    expect(usageOf(some)).toEqual({
      ...usageOf(all),
      prompt_tokens_details: usageOf(some)?.prompt_tokens_details,
    });
  });

  test("stream interval: the first token alone, then four at a time", async () => {
    const slow = await startReplica({ speed: 1000, streamInterval: 4, enableAutoToolChoice: false });
    const { chunks } = await stream(slow, chatBody("x [len=20]"));
    const counted = chunks.map((chunk) => chunk.usage?.completion_tokens);
    expect(counted).toEqual([0, 1, 5, 9, 13, 17, 21, 21]);
    await slow.close();
    expect(
      (await ask("x [len=20]", { stream_interval: 10 }, plain)).chunks.map((c) => c.usage?.completion_tokens),
    ).toEqual([0, 1, 11, 21, 21]);
  });

  test("ids of the prompt come first, those of the answer with their frames", async () => {
    const { chunks } = await ask("x [len=12]", { return_token_ids: true });
    const first = chunks[0] as Chunk & { prompt_token_ids: number[] };
    expect(first.prompt_token_ids).toHaveLength(usageOf({ chunks } as Received)!.prompt_tokens);
    const ids = chunks.flatMap(
      (chunk) => (chunk.choices[0] as { token_ids?: number[] } | undefined)?.token_ids ?? [],
    );
    expect(ids).toHaveLength(13);
  });

  test("n: a role frame and a finish for each, the prompt counted once", async () => {
    const answer = await ask("x [len=8]", { n: 3, temperature: 1 });
    const texts = [0, 1, 2].map((index) =>
      answer.chunks
        .map((chunk) => (chunk.choices[0]?.index === index ? (chunk.choices[0].delta.content ?? "") : ""))
        .join(""),
    );
    expect(new Set(texts).size).toBe(3);
    expect(answer.chunks.filter((chunk) => chunk.choices[0]?.finish_reason === "stop")).toHaveLength(3);
    expect(usageOf(answer)?.completion_tokens).toBe(27);
  });

  test("X-Request-Id becomes the id", async () => {
    const response = await post(
      replica,
      "/v1/chat/completions",
      { messages: [{ role: "user", content: "x [len=1]" }] },
      { "x-request-id": "mine" },
    );
    expect(response.headers.get("x-request-id")).toBeNull();
    expect(((await response.json()) as { id: string }).id).toBe("chatcmpl-mine");
  });

  test("the ledger knows an answer by its id where the client gave none", async () => {
    const response = await post(replica, "/v1/completions", { prompt: "x", max_tokens: 2 });
    const { id } = (await response.json()) as { id: string };
    expect(replica.ledger.get(id.replace("cmpl-", ""))?.outputTokens).toBe(2);
  });

  test("a salt separates caches", async () => {
    const body = (salt: string) => chatBody(`${"again ".repeat(50)} [len=1]`, { cache_salt: salt });
    const cached = async (salt: string) =>
      usageOf(await stream(replica, body(salt)))?.prompt_tokens_details?.cached_tokens;
    expect(await cached("tenant one")).toBe(0);
    expect(await cached("tenant one")).toBeGreaterThan(40);
    expect(await cached("tenant two")).toBe(0);
  });

  test("echo repeats the open message", async () => {
    const messages = [
      { role: "user", content: "x [len=30]" },
      { role: "assistant", content: "Well, " },
    ];
    const open = { messages, continue_final_message: true, add_generation_prompt: false };
    const answer = await stream(replica, { ...chatBody(""), ...open, echo: true });
    expect(answer.text.startsWith("Well, ")).toBe(true);
  });

  test("a completion by ids goes on as the chat would", async () => {
    const chat = await ask("By ids, please. [len=80]", { return_token_ids: true });
    const frames = chat.chunks as (Chunk & {
      prompt_token_ids?: number[];
      choices: { token_ids?: number[] }[];
    })[];
    const prompt = frames[0]!.prompt_token_ids!;
    const ids = frames.flatMap((frame) => frame.choices[0]?.token_ids ?? []);
    const body = {
      model: "sim-chat",
      prompt: [...prompt, ...ids.slice(0, 33)],
      max_tokens: 100,
      temperature: 0,
      return_token_ids: true,
    };
    const answer = (await (await post(replica, "/v1/completions", body)).json()) as {
      choices: { token_ids: number[] }[];
    };
    expect(answer.choices[0]?.token_ids).toEqual(ids.slice(33));
  });
});

describe("resume", () => {
  test("a stream that is cut anywhere goes on to the same text, and the bill adds up", async () => {
    const messages = [{ role: "user", content: "A story with 😀 and code. [len=90]" }];
    const whole = await stream(replica, { ...chatBody(""), messages });
    for (let afterTokens = 0; afterTokens <= 91; afterTokens += 7) {
      replica.setFaults({ cut: { afterTokens, count: 1 } });
      const cut = await streamUntilCut(replica, { ...chatBody(""), messages });
      expect(cut.broken).toBe(true);
      const open = {
        messages: [...messages, { role: "assistant", content: cut.text }],
        continue_final_message: true,
        add_generation_prompt: false,
      };
      const rest = await stream(replica, { ...chatBody(""), ...open });
      expect(cut.text + rest.text).toBe(whole.text);
      // Bytes of an unfinished character are said again; apart from that no token is computed twice.
      const said = usageOf(rest)!;
      expect(said.prompt_tokens + said.completion_tokens).toBe(
        usageOf(whole)!.prompt_tokens + usageOf(whole)!.completion_tokens,
      );
    }
  });

  test("continuing a complete answer: one empty frame, stop, one token", async () => {
    const messages = [{ role: "user", content: "Short. [len=6]" }];
    const whole = await stream(plain, { ...chatBody(""), messages });
    const open = {
      messages: [...messages, { role: "assistant", content: whole.text }],
      continue_final_message: true,
      add_generation_prompt: false,
    };
    const rest = await stream(plain, { ...chatBody(""), ...open });
    expect(rest.text).toBe("");
    expect(usageOf(rest)?.completion_tokens).toBe(1);
    expect(finishOf(rest)?.finish_reason).toBe("stop");
  });
});
