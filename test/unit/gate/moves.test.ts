import { afterEach, describe, expect, test } from "vitest";
import { EMPTY_REPLY } from "../../support/gate-edge.ts";
import { chatFrame, chatThen, DONE, usageFrame } from "../../support/gate-engine.ts";
import { type Call, type Rig, startRig } from "../../support/gate-rig.ts";

/** When a gate hands streams over, which, and how it says so. */

let rig: Rig;
afterEach(() => rig.close());

const STREAM = { model: "m", messages: [{ role: "user", content: "hi" }], stream: true };
const AWAY = (away: string) => new RegExp(`: meridian [^\\n]*"away":"${away}"[^\\n]*\\n\\n$`);

async function begun(more: object, resumable: boolean): Promise<Call> {
  const call = await rig.call({ ...STREAM, ...more }, { resumable });
  await call.received("t1");
  return call;
}

describe("a pool that is drained", () => {
  test("hands over what can go on elsewhere, after half its time, and lets all else run", async () => {
    rig = await startRig({}, { random: () => 0 });
    let finish = () => {};
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    rig.engine.script = chatThen(1, async (res) => {
      await finished;
      res.end(chatFrame(2, " t2", "stop") + usageFrame(2) + DONE);
    });
    const [moved, stays] = [await begun({}, true), await begun({}, false)];
    rig.edge.reply = () => ({ ...EMPTY_REPLY, drainMs: 800 });
    const fromMs = performance.now();
    const { text, cut } = await moved.rest;
    expect(cut).toBe(true);
    expect(text).toMatch(AWAY("pool"));
    expect(performance.now() - fromMs).toBeGreaterThan(300);
    expect(await rig.final(moved.order)).toMatchObject({ carriedOn: true, usage: { outputTokens: 1 } });
    finish();
    expect(await stays.rest).toMatchObject({ cut: false, text: expect.stringContaining("[DONE]") });
    // Not a failure of the replica, and no death.
    expect(rig.edge.reports.flatMap(({ tallies }) => tallies).some(({ failed }) => failed > 0)).toBe(false);
    expect(rig.edge.reports.flatMap(({ deaths = [] }) => deaths)).toEqual([]);
  });

  test("that is put back to work hands over nothing", async () => {
    rig = await startRig({}, { random: () => 0 });
    rig.engine.script = chatThen(1, () => new Promise(() => {}));
    const call = await begun({}, true);
    let replies = 0;
    rig.edge.reply = () => {
      replies += 1;
      return replies === 1 ? { ...EMPTY_REPLY, drainMs: 1_200 } : EMPTY_REPLY;
    };
    await rig.edge.until(() => replies > 2);
    // Past the half of that time, from which on it would.
    await new Promise((resolve) => setTimeout(resolve, 800));
    expect(rig.gate.open).toBe(1);
    call.leave();
  });
});

test("a gate that leaves hands over one by one, in the second half of its time", async () => {
  let turn = -0.25;
  rig = await startRig(
    { drainMs: 1_600 },
    {
      abortDrainMs: 50,
      random: () => {
        turn = (turn + 0.25) % 1;
        return turn;
      },
    },
  );
  rig.engine.script = chatThen(1, () => new Promise(() => {}));
  const calls = [await begun({}, true), await begun({}, true), await begun({}, true), await begun({}, true)];
  const fromMs = performance.now();
  const ends: number[] = [];
  const all = Promise.all(
    calls.map(async (call) => {
      expect((await call.rest).text).toMatch(AWAY("gate"));
      ends.push(performance.now() - fromMs);
    }),
  );
  await rig.gate.drain();
  await all;
  expect(ends[0]).toBeGreaterThan(700);
  expect(Math.max(...ends) - Math.min(...ends)).toBeGreaterThan(300);
});
