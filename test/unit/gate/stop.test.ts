import { afterEach, describe, expect, test } from "vitest";
import type { GateOptions } from "../../../src/gate/gate.ts";
import { STOP_ALL } from "../../support/gate-edge.ts";
import { chatFrame, chatThen, DONE, PROMPT_TOKENS, usageFrame } from "../../support/gate-engine.ts";
import { eventually, type Rig, startRig } from "../../support/gate-rig.ts";

const messages = [{ role: "user", content: "hi" }];
const STREAM = { model: "m", messages, stream: true };
const JSON_BODY = { model: "m", messages };

let rig: Rig;
afterEach(() => rig.close());
const start = async (options: GateOptions = {}, config = {}) => {
  rig = await startRig(config, { abortDrainMs: 150, ...options });
};

describe("a budget's stop", () => {
  test.each([
    ["stream", STREAM],
    ["aggregate", JSON_BODY],
  ])("ends mode %s with finish_reason length and all that was made", async (_mode, body) => {
    await start();
    rig.edge.reply = STOP_ALL;
    rig.engine.script = chatThen(2, async (res, { left }) => {
      await left;
      res.end(chatFrame(3, " t3"));
    });
    const call = await rig.call({
      ...body,
      ...(body === STREAM ? { stream_options: { include_usage: true } } : {}),
    });
    const { text, cut } = await call.rest;
    expect(cut).toBe(false);
    expect(text).toMatch(/t1.*t2.*t3.*"finish_reason":"length"/s);
    expect(text).toContain(`"completion_tokens":3`);
    if (body === STREAM) expect(text.endsWith(DONE)).toBe(true);
    expect(await rig.final(call.order)).toMatchObject({
      outcome: "stopped",
      usage: { promptTokens: PROMPT_TOKENS, outputTokens: 3 },
    });
    expect(rig.edge.finals(call.order.ticket)).toHaveLength(1);
  });

  test("of an engine that never closes, ends after the time for counting", async () => {
    await start();
    rig.edge.reply = STOP_ALL;
    rig.engine.script = chatThen(2, () => new Promise(() => {}));
    const call = await rig.call(STREAM);
    expect((await call.rest).text).toContain('"finish_reason":"length"');
    await rig.engine.seen[0]!.left;
  });

  test("that crosses the proper end changes nothing", async () => {
    await start();
    rig.edge.reply = STOP_ALL;
    rig.engine.script = chatThen(2, async (res, { left }) => {
      await left;
      res.end(chatFrame(3, " t3", "stop") + usageFrame(3) + DONE);
    });
    const call = await rig.call(STREAM);
    expect((await call.rest).text).toMatch(/"finish_reason":"stop".*\[DONE\]\n\n$/s);
    expect(await rig.final(call.order)).toMatchObject({ outcome: "complete", usage: { outputTokens: 3 } });
  });

  test("waits for the first token", async () => {
    await start();
    rig.edge.reply = STOP_ALL;
    let release = () => {};
    rig.engine.script = async (res, request) => {
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      await chatThen(1, async () => {
        await request.left;
        res.end();
      })(res, request);
    };
    const call = await rig.call(STREAM, { startByMs: Date.now() + 600 });
    // Past its start deadline a request without tokens is reported, too, or its reservation would be void.
    await rig.edge.until(({ reports }) => reports.some(({ usage }) => usage.length > 0));
    await new Promise((resolve) => setTimeout(resolve, 30));
    release();
    expect((await call.rest).text).toMatch(/t1.*"finish_reason":"length"/s);
    expect(await rig.final(call.order)).toMatchObject({ outcome: "stopped", usage: { outputTokens: 1 } });
  });
});

describe("a prompt that nobody counted", () => {
  test("is charged by the edge's estimate where the replica does not tell", async () => {
    await start();
    rig.engine.tokenCount = null;
    rig.engine.script = (res, { left }) => left.then(() => void res.end());
    const call = await rig.call(STREAM, { estimatedPromptTokens: 40 });
    await eventually(() => rig.engine.seen.length === 1);
    call.leave();
    expect(await rig.final(call.order)).toEqual({
      ticket: call.order.ticket,
      final: true,
      outcome: "client_gone",
      usage: { promptTokens: 40, cachedTokens: 0, outputTokens: 0 },
      estimated: true,
    });
  });

  test("is asked for with the very messages", async () => {
    await start();
    rig.engine.script = (res, { left }) => left.then(() => void res.end());
    const call = await rig.call(STREAM);
    await eventually(() => rig.engine.seen.length === 1);
    call.leave();
    await rig.final(call.order);
    expect(rig.engine.tokenized).toEqual([{ model: "served", messages }]);
  });
});
