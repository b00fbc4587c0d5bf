import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  REPORT_BACKLOG_MAX,
  REPORT_ENTRIES_MAX,
  REPORT_INTERVAL_MS,
  REPORT_MAX_BYTES,
  REPORT_MIN_GAP_MS,
} from "../../../src/bounds.ts";
import { pass, reporterRig, ticketsOf, usageOf } from "../../support/gate-reporter.ts";

let rig: ReturnType<typeof reporterRig>;
beforeEach(() => {
  vi.useFakeTimers();
  rig = reporterRig();
});
afterEach(() => {
  rig.reporter.close();
  vi.useRealTimers();
});

describe("bounds", () => {
  test("more finals than fit wait for the next batch", async () => {
    rig.reporter.wake();
    await pass(0);
    const count = REPORT_ENTRIES_MAX + 10;
    for (let index = 0; index < count; index++) {
      rig.outbox.add({ ticket: `t${index}`, usage: usageOf(1), final: true, outcome: "complete" });
    }
    rig.reporter.wake();
    await pass(3 * REPORT_MIN_GAP_MS);
    expect(rig.reports.slice(1, 3).map(({ usage }) => usage.length)).toEqual([REPORT_ENTRIES_MAX, 10]);
  });

  test("long tickets do not make a batch larger than the edge takes", async () => {
    for (let index = 0; index < 4_000; index++) {
      const ticket = `${index}`.padEnd(2_000, "t");
      rig.outbox.add({ ticket, usage: usageOf(1), final: true, outcome: "complete" });
    }
    rig.reporter.wake();
    await pass(10 * REPORT_MIN_GAP_MS);
    for (const report of rig.reports) expect(JSON.stringify(report).length).toBeLessThan(REPORT_MAX_BYTES);
    expect(new Set(rig.finals().map(({ ticket }) => ticket)).size).toBe(4_000);
  });

  test("more open requests than fit take turns", async () => {
    const requests = Array.from({ length: REPORT_ENTRIES_MAX + 100 }, () => rig.open());
    await pass(2 * REPORT_INTERVAL_MS);
    const told = new Set(rig.reports.flatMap((report) => ticketsOf(report) ?? []));
    expect(told.size).toBe(requests.length);
  });

  test("a backlog beyond its bound drops the oldest, and says so", () => {
    for (let index = 0; index < REPORT_BACKLOG_MAX + 3; index++) {
      rig.outbox.add({ ticket: `t${index}`, usage: usageOf(1), final: true, outcome: "complete" });
    }
    expect(rig.outbox.dropped).toBe(3);
    expect(rig.outbox.next(rig.meter, rig.tallies, rig.deaths, 0, 0).usage[0]!.ticket).toBe("t3");
  });
});

describe("what is said of a request", () => {
  test("nothing before its first token, while it may still fail over", async () => {
    const request = rig.open({ begun: false, startByMs: Date.now() + 2_500 });
    await pass(2_000);
    expect(rig.reports.flatMap(({ usage }) => usage)).toEqual([]);
    await pass(1_000);
    expect(ticketsOf(rig.reports.at(-1))).toEqual([request.order.ticket]);
  });

  test("a stop reaches every attempt of the request, and no other request", async () => {
    const [meant, other] = [rig.open({ requestId: "req-meant" }), rig.open({ requestId: "req-other" })];
    const retried = rig.open({ requestId: "req-meant", attempt: 1 });
    rig.answer = () => ({ stop: ["req-meant", "req-unknown"], again: [] });
    await pass(REPORT_INTERVAL_MS);
    expect([meant.stopped, retried.stopped, other.stopped]).toEqual([1, 1, 0]);
  });

  test("its tokens join the tallies as they flow, cached ones left out", async () => {
    rig.reporter.wake();
    await pass(0);
    const request = rig.open();
    request.used = 20;
    await pass(REPORT_INTERVAL_MS);
    request.used = 50;
    rig.end(request);
    await pass(REPORT_INTERVAL_MS);
    const flows = rig.reports.flatMap(({ tallies: carried }) => carried.map(({ tokens }) => tokens));
    expect(flows).toEqual([10 - 4 + 20, 30]);
  });

  test("tokens of one JSON that nobody has yet are told as such", async () => {
    rig.open({ unsent: true });
    rig.open();
    await pass(REPORT_INTERVAL_MS);
    expect(rig.reports.at(-1)!.usage.map(({ unsent }) => unsent)).toEqual([true, undefined]);
  });
});
