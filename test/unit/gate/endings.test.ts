import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { BODIES, type Expected, MODES, ROWS } from "../../support/gate-endings.ts";
import { chatStream, chatText } from "../../support/gate-engine.ts";
import { type Call, eventually, type Rig, startRig } from "../../support/gate-rig.ts";

let rig: Rig;
beforeEach(async () => {
  rig = await startRig({}, { abortDrainMs: 150 });
});
afterEach(() => rig.close());

for (const mode of MODES) {
  describe(`mode ${mode}`, () => {
    for (const row of ROWS) {
      const expected = row.expected[mode];
      if (expected === undefined) continue;
      test(row.name, async () => {
        rig.engine.script = row.script(mode);
        const call = await rig.call(BODIES[mode], row.order?.() ?? {});
        await row.act?.(call, rig);
        if (expected.status > 0) await checkAnswer(call, expected);
        else
          await expect(call.rest)
            .rejects.toThrow()
            .catch(() => call.rest);
        await checkBill(call, expected);
        if (row.engineIsLeft) await rig.engine.seen[0]!.left;
        await eventually(() => rig.gate.open === 0);
      });
    }
  });
}

async function checkAnswer(call: Call, expected: Expected): Promise<void> {
  const head = await call.head;
  const { text, cut } = await call.rest;
  expect(head.statusCode).toBe(expected.status);
  expect(cut).toBe(expected.cut ?? false);
  if (expected.text !== undefined) expect(text).toMatch(expected.text);
  expect(head.headers["x-meridian-retryable"]).toBe(expected.retryable);
  if (expected.retryable !== undefined) {
    expect(head.headers["x-meridian-outcome"]).toBe(expected.outcome ?? expected.final?.outcome);
    expect(JSON.parse(text)).toHaveProperty("error.message");
  }
}

async function checkBill(call: Call, expected: Expected): Promise<void> {
  if (expected.final !== null) {
    const { firstTokenMs, ...final } = await rig.final(call.order);
    // Told where a first token was seen, and only there; one JSON shows none.
    if (firstTokenMs !== undefined) expect(final.usage.outputTokens).toBeGreaterThan(0);
    expect(final).toEqual({ ticket: call.order.ticket, final: true, ...expected.final });
    return;
  }
  // The tally of the attempt arrives; a bill for it does not.
  await rig.edge.until(({ reports }) => reports.some(({ tallies }) => tallies.length > 0));
  expect(rig.edge.finals(call.order.ticket)).toEqual([]);
}

describe("the same for the streams of tokens", () => {
  test("what the client gets is what the engine sent, less the usage that it did not ask for", async () => {
    rig.engine.script = chatStream(2);
    const call = await rig.call(BODIES.stream);
    const { text } = await call.rest;
    const frames = text.split("\n\n").filter((frame) => frame.startsWith("data: {"));
    const engineFrames = chatText(2)
      .split("\n\n")
      .filter((frame) => frame.startsWith("data: {"));
    expect(frames.map((frame) => JSON.parse(frame.slice(6)))).toEqual(
      engineFrames
        .slice(0, 2)
        .map((frame) => ({ ...JSON.parse(frame.slice(6)), model: "m", usage: undefined })),
    );
  });
});
