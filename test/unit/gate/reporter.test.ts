import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { REPORT_IDLE_INTERVAL_MS, REPORT_INTERVAL_MS, REPORT_MIN_GAP_MS } from "../../../src/bounds.ts";
import { pass, REFUSES, reporterRig, TAKES, ticketsOf, usageOf } from "../../support/gate-reporter.ts";

let rig: ReturnType<typeof reporterRig>;
beforeEach(() => {
  vi.useFakeTimers();
  rig = reporterRig();
});
afterEach(() => {
  rig.reporter.close();
  vi.useRealTimers();
});

describe("when batches leave", () => {
  test("at once at the start, then as heartbeats", async () => {
    rig.reporter.wake();
    await pass(0);
    expect(rig.reports).toHaveLength(1);
    await pass(3 * REPORT_IDLE_INTERVAL_MS);
    expect(rig.reports).toHaveLength(4);
    expect(rig.reports.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4]);
  });

  test("each second while requests are open", async () => {
    rig.reporter.wake();
    await pass(0);
    const request = rig.open();
    for (let second = 1; second <= 3; second++) {
      request.used = second * 50;
      await pass(REPORT_INTERVAL_MS);
    }
    expect(rig.reports).toHaveLength(4);
    expect(rig.reports.slice(1).map(({ usage }) => usage)).toEqual(
      [50, 100, 150].map((used) => [
        { ticket: request.order.ticket, usage: usageOf(used), final: false, tokensPerSecond: 50 },
      ]),
    );
  });

  test("as soon as the gap allows when a request ends", async () => {
    rig.reporter.wake();
    await pass(0);
    const [first, second] = [rig.open(), rig.open()];
    await pass(REPORT_MIN_GAP_MS - 1);
    rig.end(first);
    rig.end(second);
    await pass(0);
    expect(rig.reports).toHaveLength(1);
    await pass(1);
    expect(ticketsOf(rig.reports[1])).toEqual([first.order.ticket, second.order.ticket]);
  });

  test("as soon as the gap allows when a replica changes its state", async () => {
    rig.reporter.wake();
    await pass(REPORT_MIN_GAP_MS);
    rig.reporter.hurry();
    await pass(0);
    expect(rig.reports).toHaveLength(2);
  });

  test("one at a time, however slow the edge is", async () => {
    rig.answer = () => "never";
    rig.reporter.wake();
    await pass(0);
    rig.end(rig.open());
    await pass(60_000);
    expect(rig.reports).toHaveLength(1);
  });
});

describe("nothing is lost", () => {
  test("a failed batch goes again, with its number and its bills, until the edge takes it", async () => {
    rig.reporter.wake();
    await pass(0);
    rig.answer = REFUSES;
    const request = rig.open();
    rig.end(request);
    await pass(REPORT_MIN_GAP_MS);
    await pass(250 + 500 + 1_000);
    const tried = rig.reports.length - 1;
    expect(tried).toBe(4);
    expect(new Set(rig.reports.slice(1).map(({ sequence }) => sequence))).toEqual(new Set([2]));
    rig.answer = TAKES;
    await pass(2_000);
    expect(ticketsOf(rig.reports.at(-1))).toEqual([request.order.ticket]);
    await pass(10_000);
    expect(rig.finals()).toHaveLength(tried + 1);
    expect(rig.outbox.empty).toBe(true);
    expect(rig.warnings).toBe(tried);
  });

  test("back-off ends at two seconds", async () => {
    rig.answer = REFUSES;
    rig.end(rig.open());
    await pass(60_000);
    expect(rig.reports.length).toBeGreaterThan(28);
    expect(rig.reports.length).toBeLessThan(36);
  });

  test("what ends meanwhile goes with the next batch", async () => {
    rig.reporter.wake();
    await pass(0);
    rig.answer = REFUSES;
    rig.end(rig.open());
    await pass(1_000);
    const later = rig.open();
    rig.end(later);
    rig.answer = TAKES;
    await pass(5_000);
    expect(rig.reports.map((report) => ticketsOf(report)?.includes(later.order.ticket)).indexOf(true)).toBe(
      rig.reports.findIndex(({ sequence }) => sequence === 3),
    );
    expect(rig.finals().filter(({ ticket }) => ticket === later.order.ticket)).toHaveLength(1);
    expect(rig.outbox.backlog).toBe(0);
  });

  test("what the edge could not settle is sent again after a second, the rest is not", async () => {
    rig.reporter.wake();
    await pass(0);
    const [settled, unsettled] = [rig.open(), rig.open()];
    rig.answer = () => ({ stop: [], again: [1] });
    rig.end(settled);
    rig.end(unsettled);
    await pass(REPORT_MIN_GAP_MS);
    rig.answer = TAKES;
    await pass(REPORT_INTERVAL_MS - 1);
    expect(rig.finals()).toHaveLength(2);
    await pass(REPORT_INTERVAL_MS);
    expect(rig.finals().map(({ ticket }) => ticket)).toEqual([
      settled.order.ticket,
      unsettled.order.ticket,
      unsettled.order.ticket,
    ]);
    expect(rig.outbox.empty).toBe(true);
  });

  test("`again` for a request that still runs brings nothing twice", async () => {
    const request = rig.open();
    rig.answer = () => ({ stop: [], again: [0, 17] });
    await pass(REPORT_INTERVAL_MS);
    rig.answer = TAKES;
    rig.end(request);
    await pass(5_000);
    expect(rig.finals()).toHaveLength(1);
  });

  test("tallies ride along once, with the batch that carried them", async () => {
    rig.reporter.wake();
    await pass(0);
    rig.tallies.count("r0", "m", "failed");
    rig.answer = REFUSES;
    rig.reporter.hurry();
    await pass(REPORT_MIN_GAP_MS);
    rig.tallies.count("r0", "m", "failed");
    rig.answer = TAKES;
    await pass(5_000);
    const carrying = rig.reports.filter(({ tallies: carried }) => carried.length > 0);
    expect(carrying.map(({ sequence, tallies: [tally] }) => [sequence, tally!.failed])).toEqual([
      [2, 1],
      [2, 1],
      [3, 1],
    ]);
  });
});

test("`delivered` waits for the last bill", async () => {
  rig.answer = REFUSES;
  rig.end(rig.open());
  let delivered = false;
  void rig.reporter.delivered().then(() => {
    delivered = true;
  });
  await pass(3_000);
  expect(delivered).toBe(false);
  rig.answer = TAKES;
  await pass(2_000);
  expect(delivered).toBe(true);
});
