import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { REPLICA_POLL_TIMEOUT_MS } from "../../../src/bounds.ts";
import type { OriginOrder } from "../../../src/contract/origin-token.ts";
import { BODIES } from "../../support/gate-endings.ts";
import { chatText, chatThen, METRICS } from "../../support/gate-engine.ts";
import { type Rig, startRig } from "../../support/gate-rig.ts";

let rig: Rig;
beforeEach(async () => {
  rig = await startRig({}, { abortDrainMs: 150 });
});
afterEach(() => rig.close());

const AFTER_MS = 60;
/** As long as it takes to know that an engine stands still: two looks, one of which may time out. */
const STANDS_MS = REPLICA_POLL_TIMEOUT_MS + 700;
const order = (of: "first_token" | "total", more: Partial<OriginOrder> = {}): Partial<OriginOrder> => ({
  slow: { afterMs: AFTER_MS, of },
  ...more,
});

function counted() {
  const all = rig.edge.reports.flatMap(({ tallies }) => tallies);
  const sum = (of: "ok" | "failed" | "slow") => all.reduce((total, tally) => total + tally[of], 0);
  return { ok: sum("ok"), failed: sum("failed"), slow: sum("slow") };
}

describe("a request is slow at an age, not at its end", () => {
  test("a replica that holds all it has is told of while it holds them, though its health check is fine", async () => {
    rig.engine.script = () => {};
    const calls = await Promise.all([1, 2, 3].map(() => rig.call(BODIES.stream, order("first_token"))));
    await rig.edge.until(() => counted().slow === 3);
    // None has ended: all are within the time that the model allows for a first token.
    expect(counted()).toEqual({ ok: 0, failed: 0, slow: 3 });
    expect(rig.edge.reports.at(-1)!.replicas).toMatchObject([{ state: "healthy", inFlight: 3 }]);
    for (const call of calls) call.leave();
  });

  test("and is counted once, whatever becomes of it", async () => {
    rig.engine.script = () => {};
    const call = await rig.call(BODIES.stream, order("first_token", { firstTokenTimeoutMs: 2 * AFTER_MS }));
    await call.rest;
    await rig.edge.until(() => counted().failed === 1);
    expect(counted()).toEqual({ ok: 0, failed: 1, slow: 1 });
  });

  test("one that fails before that age is not slow", async () => {
    rig.engine.script = (res) => void res.writeHead(500).end("{}");
    const call = await rig.call(BODIES.stream, order("first_token"));
    await call.rest;
    await rig.edge.until(() => counted().failed === 1);
    expect(counted()).toEqual({ ok: 0, failed: 1, slow: 0 });
  });

  test.each([
    ["computes nothing", false, 1],
    ["works for others", true, 0],
  ])(
    "of one JSON in one piece no first token is seen: whether it is slow where the engine %s",
    async (_, moves, slow) => {
      let tokens = 7;
      Object.defineProperty(rig.engine, "metrics", {
        get: () => `${METRICS}vllm:generation_tokens_total{engine="0"} ${moves ? tokens++ : tokens}\n`,
      });
      rig.engine.script = () => {};
      const call = await rig.call(BODIES.whole, { slow: { afterMs: STANDS_MS, of: "first_token" } });
      if (slow > 0) await rig.edge.until(() => counted().slow > 0);
      else await new Promise((resolve) => setTimeout(resolve, STANDS_MS + 400));
      expect(counted()).toEqual({ ok: 0, failed: 0, slow });
      call.leave();
      await rig.final(call.order);
    },
  );

  test("a stream that began in time may take as long as it likes, unless the whole is timed", async () => {
    for (const [of, slow] of [
      ["first_token", 0],
      ["total", 1],
    ] as const) {
      rig.edge.reports.length = 0;
      // A first token at once, and the rest of the answer when its age is past the threshold.
      rig.engine.script = chatThen(1, (res) => {
        setTimeout(() => res.end(chatText(1)), 3 * AFTER_MS);
      });
      const call = await rig.call(BODIES.stream, order(of));
      await call.rest;
      await rig.edge.until(() => counted().ok === 1);
      expect(counted()).toEqual({ ok: 1, failed: 0, slow });
    }
  });
});
