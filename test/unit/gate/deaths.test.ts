import { afterEach, describe, expect, test } from "vitest";
import { breakOff, chatFrame, chatThen, DONE, dataFrame, streamHead } from "../../support/gate-engine.ts";
import { type Rig, startRig } from "../../support/gate-rig.ts";

/** What a gate tells of engines that die, and of whom they had. */

let rig: Rig;
afterEach(() => rig.close());

const body = (content: string, more: object = {}) => ({
  model: "m",
  messages: [{ role: "user", content }],
  stream: true,
  ...more,
});
const told = () => rig.edge.reports.flatMap(({ deaths = [] }) => deaths);
const untilTold = () => rig.edge.until(() => told().length > 0);

/** Ends its listener and every connection, as a process that is killed. */
async function dies(): Promise<void> {
  await rig.engine.close();
}

describe("an engine that dies", () => {
  test("is told with all that it had, by hash, and whether each had a token", async () => {
    rig = await startRig();
    rig.engine.script = (res, request) => {
      const { messages } = request.body as { messages: { content: string }[] };
      streamHead(res);
      if (messages[0]!.content !== "silence") res.write(chatFrame(1, " t1"));
    };
    const begun = await rig.call(body("begun"));
    const whole = await rig.call({ ...body("one JSON"), stream: false });
    const waits = await rig.call(body("silence"));
    await begun.received("t1");
    await rig.edge.until(() => rig.engine.seen.length === 3);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await dies();
    await Promise.all([begun.rest, whole.head, waits.head]);
    await untilTold();
    const [death, ...others] = told();
    expect(others).toEqual([]);
    expect(death).toMatchObject({ replica: "r0" });
    expect(death!.present.map(({ begun }) => begun).sort()).toEqual([false, true, true]);
    for (const { digest } of death!.present) expect(digest).toMatch(/^[\w-]{43}$/);
    expect(JSON.stringify(rig.edge.reports) + rig.logs.join("")).not.toMatch(/silence|one JSON/);
    expect((await waits.head).headers["x-meridian-engine-died"]).toBe("yes");
    expect((await whole.head).headers["x-meridian-engine-died"]).toBe("yes");
  });

  test("is believed when it says so itself, though its address still answers", async () => {
    rig = await startRig();
    const message = "EngineCore encountered an issue. See stack trace (above) for the root cause.";
    rig.engine.script = chatThen(
      1,
      (res) => void res.end(dataFrame({ error: { message, code: 500 } }) + DONE),
    );
    await (await rig.call(body("x"))).rest;
    await untilTold();
    expect(told()).toMatchObject([{ present: [{ begun: true }] }]);
  });

  test("is not one that only breaks a connection off, errs or is silent", async () => {
    rig = await startRig();
    rig.engine.script = chatThen(1, breakOff);
    await (await rig.call(body("x"))).rest;
    rig.engine.script = chatThen(1, () => new Promise(() => {}));
    await (await rig.call(body("y"), { tokenGapTimeoutMs: 60 })).rest;
    await new Promise((resolve) => setTimeout(resolve, 600));
    await rig.edge.until(({ reports }) => reports.length > 2);
    expect(told()).toEqual([]);
  });

  test.each([
    ["who asks and how it is sampled", { user: "me", seed: 7, temperature: 1, max_tokens: 3 }, true],
    ["what is asked", { messages: [{ role: "user", content: "x!" }] }, false],
    ["a tool", { tools: [{ type: "function", function: { name: "f" } }] }, false],
  ])("%s: part of the fingerprint or not", async (_name, more, same) => {
    rig = await startRig();
    rig.engine.script = (res) => streamHead(res);
    const calls = [await rig.call(body("x")), await rig.call(body("x", more))];
    await rig.edge.until(() => rig.engine.seen.length === 2);
    await dies();
    await Promise.all(calls.map(({ head }) => head));
    await untilTold();
    const digests = new Set(told()[0]!.present.map(({ digest }) => digest));
    expect(digests.size).toBe(same ? 1 : 2);
  });
});

test("a suspect that completes is cleared, and one that does not is not", async () => {
  rig = await startRig();
  const suspect = "s".repeat(22);
  await (await rig.call(body("x"), { suspect })).rest;
  await rig.edge.until(({ reports }) => reports.some(({ cleared = [] }) => cleared.includes(suspect)));
  rig.engine.script = chatThen(1, breakOff);
  const other = "o".repeat(22);
  await (await rig.call(body("y"), { suspect: other })).rest;
  await rig.edge.until(({ reports }) =>
    reports.some(({ usage }) => usage.some(({ outcome }) => outcome === "failed")),
  );
  expect(JSON.stringify(rig.edge.reports)).not.toContain(other);
});
