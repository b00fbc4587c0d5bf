import { afterEach, describe, expect, test } from "vitest";
import type { GateOptions } from "../../../src/gate/gate.ts";
import { STOP_ALL } from "../../support/gate-edge.ts";
import {
  breakOff,
  chatFrame,
  chatStream,
  chatText,
  chatThen,
  chatWhole,
  DONE,
  streamHead,
} from "../../support/gate-engine.ts";
import { eventually, type Rig, startRig } from "../../support/gate-rig.ts";

const messages = [{ role: "user", content: "hi" }];
const STREAM = { model: "m", messages, stream: true };
const JSON_BODY = { model: "m", messages };
const WHOLE = { model: "m", messages, n: 2 };

let rig: Rig;
afterEach(() => rig.close());
const start = async (options: GateOptions = {}, config = {}) => {
  rig = await startRig(config, { abortDrainMs: 150, ...options });
};

describe("the call to the engine", () => {
  test("carries the request id and the engine's key, and no token of ours", async () => {
    await start({}, { engineApiKey: "engine key" });
    const call = await rig.call(STREAM, { requestId: "req-abc" });
    await call.rest;
    const { headers, body, path } = rig.engine.seen[0]!;
    expect(path).toBe("/v1/chat/completions");
    expect(headers).toMatchObject({ "x-request-id": "req-abc", authorization: "Bearer engine key" });
    expect(headers).not.toHaveProperty("x-meridian-token");
    expect(body).toMatchObject({ model: "served", cache_salt: "salt", stream: true });
  });

  test("the status says how long the gate took for it, and a failure's does too", async () => {
    await start();
    rig.engine.script = (res, seen) => void setTimeout(() => chatStream(2)(res, seen), 80);
    const call = await rig.call(STREAM);
    const tookMs = Number((await call.head).headers["x-meridian-gate-ms"]);
    expect(tookMs).toBeGreaterThanOrEqual(79);
    expect(tookMs).toBeLessThan(5_000);
    await call.rest;
    const wrong = await rig.call(STREAM, {}, { token: null });
    expect((await wrong.head).headers["x-meridian-gate-ms"]).toMatch(/^\d+\.\d$/);
    await wrong.rest;
  });

  test("a connection that the engine closed meanwhile is replaced by a fresh one, once", async () => {
    await start();
    await (await rig.call(STREAM)).rest;
    // Reset without a byte, as a server does whose keep-alive ran out while our request was on its way.
    let resets = 0;
    rig.engine.script = (res, { socket }) => {
      resets += 1;
      if (resets > 1) return chatStream(2)(res, rig.engine.seen[0]!);
      socket.resetAndDestroy();
    };
    const call = await rig.call(STREAM);
    expect((await call.head).statusCode).toBe(200);
    expect((await call.rest).text).toContain("[DONE]");
    expect(resets).toBe(2);
  });

  test("a fresh connection that breaks is not tried again", async () => {
    await start();
    rig.engine.script = (_res, { socket }) => void socket.resetAndDestroy();
    const call = await rig.call(STREAM);
    expect((await call.head).statusCode).toBe(502);
    expect(rig.engine.seen).toHaveLength(1);
  });
});

describe("until the first token nothing is sent", () => {
  test("headers and comments of the engine are no answer", async () => {
    await start();
    let release = () => {};
    rig.engine.script = async (res) => {
      streamHead(res);
      res.write(": keep-alive\n\n");
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      res.end(chatText(1));
    };
    const call = await rig.call(STREAM);
    await eventually(() => rig.engine.seen.length === 1);
    let answered = false;
    void call.head.then(() => {
      answered = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(answered).toBe(false);
    release();
    expect((await call.rest).text).toMatch(/^: keep-alive\n\ndata: .*\[DONE\]\n\n$/s);
  });

  test("an engine that only ever talks beside the point is given up", async () => {
    await start();
    rig.engine.script = async (res, { left }) => {
      streamHead(res);
      let gone = false;
      void left.then(() => {
        gone = true;
      });
      const comment = `: ${"x".repeat(256 * 1024)}\n\n`;
      while (!gone) await new Promise((resolve) => res.write(comment, resolve));
    };
    const call = await rig.call(STREAM);
    expect((await call.head).statusCode).toBe(502);
    await rig.engine.seen[0]!.left;
  });

  test("a long wait is bridged: comments in a stream", async () => {
    await start({ answerMaxMs: 40 });
    rig.engine.script = async (res, request) => {
      streamHead(res);
      await new Promise((resolve) => setTimeout(resolve, 120));
      await chatThen(1, breakOff)(Object.assign(res, { writeHead: () => res }), request);
    };
    const call = await rig.call(STREAM);
    expect((await call.head).statusCode).toBe(200);
    const { text, cut } = await call.rest;
    expect(text).toMatch(/^: waiting\n\ndata: .*t1.*stream_broken.*\n\n$/s);
    expect(cut).toBe(false);
    expect(await rig.final(call.order)).toMatchObject({ outcome: "failed", usage: { outputTokens: 1 } });
  });

  test.each([
    ["aggregate", JSON_BODY, chatStream(3)],
    ["whole", WHOLE, chatWhole(3)],
  ])("a long wait is bridged: white space before the JSON of mode %s", async (_mode, body, script) => {
    await start({ answerMaxMs: 40 });
    rig.engine.script = async (res, request) => {
      await new Promise((resolve) => setTimeout(resolve, 120));
      await script(res, request);
    };
    const call = await rig.call(body);
    expect((await call.head).statusCode).toBe(200);
    const { text } = await call.rest;
    expect(text).toMatch(/^ \{/);
    expect(JSON.parse(text)).toMatchObject({ usage: { completion_tokens: 3 } });
  });

  test("a JSON that was bridged and then fails is cut off, and costs nothing", async () => {
    await start({ answerMaxMs: 40 });
    rig.engine.script = chatThen(2, async (res) => {
      await new Promise((resolve) => setTimeout(resolve, 120));
      res.destroy();
    });
    const call = await rig.call(JSON_BODY);
    expect((await call.head).statusCode).toBe(200);
    expect(await call.rest).toEqual({ text: " ", cut: true });
    await rig.edge.until(({ reports }) =>
      reports.some(({ tallies }) => tallies.some(({ failed }) => failed > 0)),
    );
    expect(rig.edge.finals(call.order.ticket)).toEqual([]);
  });

  test("an error status of the engine after the bridge is told inside the stream", async () => {
    await start({ answerMaxMs: 40 });
    rig.engine.script = async (res) => {
      await new Promise((resolve) => setTimeout(resolve, 120));
      res.writeHead(400, { "content-type": "application/json" });
      res.end(JSON.stringify({ error: { message: "no such thing", code: 400 } }));
    };
    const call = await rig.call(STREAM);
    expect((await call.rest).text).toContain("no such thing");
    expect(await rig.final(call.order)).toMatchObject({ outcome: "refused", usage: { promptTokens: 0 } });
  });
});

/** The last text, and then what the stream has cost, for the edge. */
const LAST_WORDS = /t1.*t2[^\n]*\n\n: meridian \{"promptTokens":\d+,"outputTokens":2\}\n\n$/s;

describe("a resumable stream", () => {
  test("is cut off where the engine broke off, with everything that came before", async () => {
    await start();
    rig.engine.script = chatThen(2, breakOff);
    const call = await rig.call(STREAM, { resumable: true });
    const { text, cut } = await call.rest;
    expect(cut).toBe(true);
    expect(text).toMatch(LAST_WORDS);
    expect(text).not.toContain("error");
    expect(await rig.final(call.order)).toMatchObject({
      outcome: "failed",
      carriedOn: true,
      usage: { outputTokens: 2 },
    });
  });

  test("gives the tokens of the engine's last write before the cut", async () => {
    await start();
    rig.engine.script = (res) => {
      streamHead(res);
      res.end(chatFrame(1, " t1") + chatFrame(2, " t2") + DONE);
    };
    const call = await rig.call(STREAM, { resumable: true });
    const { text, cut } = await call.rest;
    expect(cut).toBe(true);
    expect(text).toMatch(LAST_WORDS);
  });

  test("still fails with a true status before its first token", async () => {
    await start();
    rig.engine.script = (res) => void res.destroy();
    expect((await (await rig.call(STREAM, { resumable: true })).head).statusCode).toBe(502);
  });

  test("ends with an error where the gate or the edge does not carry streams on", async () => {
    await start({}, { resumable: false });
    rig.engine.script = chatThen(2, breakOff);
    expect((await (await rig.call(STREAM, { resumable: true })).rest).text).toContain("stream_broken");
    await rig.close();
    await start();
    rig.engine.script = chatThen(2, breakOff);
    expect((await (await rig.call(STREAM)).rest).text).toContain("stream_broken");
  });
});

describe("writes", () => {
  test("no event is split over two of them, and events of one chunk share one", async () => {
    await start();
    rig.edge.reply = STOP_ALL;
    rig.engine.script = async (res) => {
      streamHead(res);
      const text = chatText(3);
      const inside = text.indexOf(" t2");
      res.write(text.slice(0, inside));
      await new Promise((resolve) => setTimeout(resolve, 30));
      res.end(text.slice(inside));
    };
    const call = await rig.call(STREAM);
    await call.rest;
    expect(call.chunks.every((chunk) => chunk.endsWith("\n\n"))).toBe(true);
    expect(call.chunks).toHaveLength(2);
  });

  test("an edge that does not read holds the engine back, and is no silence of the engine", async () => {
    await start();
    let written = 0;
    let blocked = false;
    const big = "x".repeat(64 * 1024);
    rig.engine.script = async (res, { left }) => {
      streamHead(res);
      let gone = false;
      void left.then(() => {
        gone = true;
      });
      for (let token = 1; !gone && token < 2_000; token++) {
        written += 1;
        if (res.write(chatFrame(token, big))) continue;
        blocked = true;
        await Promise.race([new Promise((resolve) => res.once("drain", resolve)), left]);
      }
      res.end();
    };
    const call = await rig.call(STREAM, { tokenGapTimeoutMs: 100 });
    const head = await call.head;
    head.pause();
    await eventually(() => blocked);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(written).toBeLessThan(1_000);
    expect(rig.gate.open).toBe(1);
    call.leave();
    expect(await rig.final(call.order)).toMatchObject({ outcome: "client_gone" });
  });
});

test("no line of the log holds a prompt, a token or a secret", async () => {
  await start({}, { engineApiKey: "engine-key-secret" });
  const secretBody = { ...STREAM, messages: [{ role: "user", content: "my-private-words" }] };
  await (await rig.call(secretBody, { ticket: "ticket-private" })).rest;
  rig.engine.script = (res) => void res.destroy();
  await (await rig.call(secretBody, { ticket: "ticket-private" })).rest;
  await (await rig.call(secretBody, {}, { token: "forged.token" })).rest;
  await (await rig.call("{my-private-words", { ticket: "ticket-private" })).rest;
  await eventually(() => rig.logs.length >= 3);
  const log = rig.logs.join("\n");
  for (const word of ["private", "secret", "forged", "salt"]) expect(log).not.toContain(word);
  expect(log).toContain('"outcome":"complete"');
});
