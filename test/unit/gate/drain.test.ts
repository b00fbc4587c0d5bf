import { afterEach, describe, expect, test } from "vitest";
import { EMPTY_REPLY } from "../../support/gate-edge.ts";
import { breakOff, chatFrame, chatThen, DONE, usageFrame } from "../../support/gate-engine.ts";
import { eventually, type Rig, startRig } from "../../support/gate-rig.ts";

const messages = [{ role: "user", content: "hi" }];
const STREAM = { model: "m", messages, stream: true };
const JSON_BODY = { model: "m", messages };

let rig: Rig;
afterEach(() => rig.close());

describe("a gate that leaves", () => {
  test("tells the edge at once, takes nothing new, lets its streams finish, delivers their bills", async () => {
    rig = await startRig({ drainMs: 5_000 });
    let finish = () => {};
    rig.engine.script = chatThen(1, async (res) => {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      res.end(chatFrame(2, " t2", "stop") + usageFrame(2) + DONE);
    });
    const running = await rig.call(STREAM);
    await running.received("t1");
    const drained = rig.gate.drain();
    await rig.edge.until(({ reports }) => reports.some(({ draining }) => draining));
    const late = await rig.call(STREAM);
    expect((await late.head).statusCode).toBe(503);
    expect((await late.head).headers["x-meridian-retryable"]).toBe("yes");
    expect((await fetch(`${rig.gate.url}/health`)).status).toBe(503);
    finish();
    expect((await running.rest).text).toContain("[DONE]");
    await drained;
    expect(rig.edge.finals(running.order.ticket)).toMatchObject([{ outcome: "complete" }]);
    await expect(fetch(`${rig.gate.url}/health`)).rejects.toThrow();
  });

  test.each([
    [false, { cut: false, text: /t1.*stream_broken/s, outputTokens: 2 }],
    // What is made after the cut is made once more elsewhere.
    [true, { cut: true, text: /t1[^\n]*\n\n: meridian [^\n]*\n\n$/s, outputTokens: 1 }],
  ])("ends what does not finish in time (resumable: %s)", async (resumable, expected) => {
    rig = await startRig({ drainMs: 60 }, { abortDrainMs: 150 });
    rig.engine.script = chatThen(1, async (res, { left }) => {
      await left;
      res.end(chatFrame(2, " t2"));
    });
    const running = await rig.call(STREAM, { resumable });
    await running.received("t1");
    await rig.gate.drain();
    const { text, cut } = await running.rest;
    expect(cut).toBe(expected.cut);
    expect(text).toMatch(expected.text);
    expect(rig.edge.finals(running.order.ticket)).toMatchObject([
      { outcome: "failed", usage: { outputTokens: expected.outputTokens } },
    ]);
    expect(rig.edge.reports.flatMap(({ tallies }) => tallies).some(({ failed }) => failed > 0)).toBe(false);
  });

  test("sends the edge elsewhere with what it has not answered yet", async () => {
    rig = await startRig({ drainMs: 60 }, { abortDrainMs: 50 });
    rig.engine.script = () => new Promise(() => {});
    const waiting = await rig.call(STREAM);
    await eventually(() => rig.engine.seen.length === 1);
    await rig.gate.drain();
    expect((await waiting.head).headers["x-meridian-retryable"]).toBe("yes");
    expect(rig.edge.finals(waiting.order.ticket)).toEqual([]);
  });

  test("in a hurry does not wait", async () => {
    rig = await startRig({ drainMs: 60_000 }, { abortDrainMs: 50 });
    rig.engine.script = chatThen(1, () => new Promise(() => {}));
    const running = await rig.call(STREAM);
    await running.received("t1");
    const drained = rig.gate.drain();
    rig.gate.hasten();
    await drained;
    expect((await running.rest).text).toContain("stream_broken");
  });

  test("keeps trying to deliver its last bills", async () => {
    rig = await startRig({ drainMs: 1_000 });
    let refusals = 2;
    rig.edge.reply = ({ usage }) => (usage.length > 0 && refusals-- > 0 ? 503 : EMPTY_REPLY);
    const call = await rig.call(STREAM);
    await call.rest;
    await rig.gate.drain();
    expect(rig.edge.finals(call.order.ticket)).toHaveLength(3);
    expect(rig.edge.reports.at(-1)!.usage).toMatchObject([{ ticket: call.order.ticket, final: true }]);
  });
});

describe("a replica that is gone", () => {
  test("has its silent streams ended soon, not after the whole gap", async () => {
    rig = await startRig();
    rig.engine.script = chatThen(1, () => new Promise(() => {}));
    const hung = await rig.call(STREAM, { tokenGapTimeoutMs: 60_000 });
    await hung.received("t1");
    await rig.engine.refuse();
    expect((await hung.rest).text).toContain("stream_broken");
    expect(await rig.final(hung.order)).toMatchObject({ outcome: "token_gap_timeout" });
  }, 10_000);

  test("is known to be down from the first refused call on, and the edge at once after", async () => {
    rig = await startRig();
    await rig.engine.close();
    const call = await rig.call(JSON_BODY);
    expect((await call.head).headers["x-meridian-outcome"]).toBe("failed");
    await rig.edge.until(({ reports }) => reports.some(({ replicas }) => replicas[0]?.state === "down"));
    expect(rig.edge.finals()).toEqual([]);
  });

  test("does not take away what still flows", async () => {
    rig = await startRig();
    let stop = false;
    rig.engine.script = chatThen(1, async (res, request) => {
      for (let token = 2; !stop; token++) {
        res.write(chatFrame(token, ` t${token}`));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await breakOff(res, request);
    });
    const flowing = await rig.call(STREAM);
    await flowing.received("t1");
    await rig.engine.refuse();
    await rig.edge.until(({ reports }) => reports.some(({ replicas }) => replicas[0]?.state === "down"));
    const seen = flowing.chunks.length;
    await eventually(() => flowing.chunks.length > seen + 10);
    expect(rig.gate.open).toBe(1);
    stop = true;
    await flowing.rest;
  });
});
