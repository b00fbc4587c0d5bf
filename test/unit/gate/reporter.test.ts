import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  REPORT_BACKLOG_MAX,
  REPORT_ENTRIES_MAX,
  REPORT_IDLE_INTERVAL_MS,
  REPORT_INTERVAL_MS,
  REPORT_MAX_BYTES,
  REPORT_MIN_GAP_MS,
} from "../../../src/bounds.ts";
import type { GateReply, GateReport, Usage } from "../../../src/contract/report.ts";
import { systemClock } from "../../../src/gate/clock.ts";
import { finalReport, Meter, type Running } from "../../../src/gate/meter.ts";
import { Outbox } from "../../../src/gate/outbox.ts";
import { Reporter } from "../../../src/gate/reporter.ts";
import { Tallies } from "../../../src/gate/tallies.ts";
import { orderOf } from "../../support/gate-rig.ts";

/** An edge that answers when and how the test says. */
type Answer = (report: GateReport) => GateReply | Error | "never";
const TAKES: Answer = () => ({ stop: [], again: [] });
const REFUSES: Answer = () => new Error("the edge answered 503");

let reports: GateReport[];
let answer: Answer;
let tallies: Tallies;
let meter: Meter;
let outbox: Outbox;
let reporter: Reporter;
let warnings: number;

beforeEach(() => {
  vi.useFakeTimers();
  reports = [];
  answer = TAKES;
  warnings = 0;
  tallies = new Tallies();
  meter = new Meter(tallies);
  outbox = new Outbox();
  reporter = new Reporter({
    pool: "us-east",
    gate: "a",
    meter,
    outbox,
    tallies,
    replicas: () => [],
    draining: () => false,
    post(report) {
      reports.push(structuredClone(report));
      const given = answer(report);
      if (given === "never") return new Promise(() => {});
      return given instanceof Error ? Promise.reject(given) : Promise.resolve(given);
    },
    clock: systemClock,
    random: () => 1,
    log: {
      info() {},
      warn() {
        warnings += 1;
      },
    },
  });
});
afterEach(() => {
  reporter.close();
  vi.useRealTimers();
});

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const usageOf = (outputTokens: number): Usage => ({ promptTokens: 10, cachedTokens: 4, outputTokens });

interface TestRequest extends Running {
  used: number;
  stopped: number;
}

function open(changes: Parameters<typeof orderOf>[0] & { begun?: boolean } = {}): TestRequest {
  const { begun, ...order } = changes;
  const request: TestRequest = {
    order: orderOf({ startByMs: Date.now() + 30_000, ...order }),
    begun: begun ?? true,
    unsent: false,
    used: 0,
    stopped: 0,
    usage: () => usageOf(request.used),
    stop() {
      request.stopped += 1;
    },
    giveUp() {},
    replicaGone() {},
  };
  meter.begin(request, systemClock.monotonicMs());
  reporter.wake();
  return request;
}

function end(request: TestRequest): void {
  meter.end(request);
  reporter.final(finalReport(request.order, request.usage(), "complete", false));
}

const finals = () => reports.flatMap(({ usage }) => usage).filter(({ final }) => final);
const ticketsOf = (report: GateReport | undefined) => report?.usage.map(({ ticket }) => ticket);

describe("when batches leave", () => {
  test("at once at the start, then as heartbeats", async () => {
    reporter.wake();
    await pass(0);
    expect(reports).toHaveLength(1);
    await pass(3 * REPORT_IDLE_INTERVAL_MS);
    expect(reports).toHaveLength(4);
    expect(reports.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4]);
  });

  test("each second while requests are open", async () => {
    reporter.wake();
    await pass(0);
    const request = open();
    for (let second = 1; second <= 3; second++) {
      request.used = second * 50;
      await pass(REPORT_INTERVAL_MS);
    }
    expect(reports).toHaveLength(4);
    expect(reports.slice(1).map(({ usage }) => usage)).toEqual(
      [50, 100, 150].map((used) => [
        { ticket: request.order.ticket, usage: usageOf(used), final: false, tokensPerSecond: 50 },
      ]),
    );
  });

  test("as soon as the gap allows when a request ends", async () => {
    reporter.wake();
    await pass(0);
    const [first, second] = [open(), open()];
    await pass(REPORT_MIN_GAP_MS - 1);
    end(first);
    end(second);
    await pass(0);
    expect(reports).toHaveLength(1);
    await pass(1);
    expect(ticketsOf(reports[1])).toEqual([first.order.ticket, second.order.ticket]);
  });

  test("as soon as the gap allows when a replica changes its state", async () => {
    reporter.wake();
    await pass(REPORT_MIN_GAP_MS);
    reporter.hurry();
    await pass(0);
    expect(reports).toHaveLength(2);
  });

  test("one at a time, however slow the edge is", async () => {
    answer = () => "never";
    reporter.wake();
    await pass(0);
    end(open());
    await pass(60_000);
    expect(reports).toHaveLength(1);
  });
});

describe("nothing is lost", () => {
  test("a failed batch goes again, with its number and its bills, until the edge takes it", async () => {
    reporter.wake();
    await pass(0);
    answer = REFUSES;
    const request = open();
    end(request);
    await pass(REPORT_MIN_GAP_MS);
    await pass(250 + 500 + 1_000);
    const tried = reports.length - 1;
    expect(tried).toBe(4);
    expect(new Set(reports.slice(1).map(({ sequence }) => sequence))).toEqual(new Set([2]));
    answer = TAKES;
    await pass(2_000);
    expect(ticketsOf(reports.at(-1))).toEqual([request.order.ticket]);
    await pass(10_000);
    expect(finals()).toHaveLength(tried + 1);
    expect(outbox.empty).toBe(true);
    expect(warnings).toBe(tried);
  });

  test("back-off ends at two seconds", async () => {
    answer = REFUSES;
    end(open());
    await pass(60_000);
    expect(reports.length).toBeGreaterThan(28);
    expect(reports.length).toBeLessThan(36);
  });

  test("what ends meanwhile goes with the next batch", async () => {
    reporter.wake();
    await pass(0);
    answer = REFUSES;
    end(open());
    await pass(1_000);
    const later = open();
    end(later);
    answer = TAKES;
    await pass(5_000);
    expect(reports.map((report) => ticketsOf(report)?.includes(later.order.ticket)).indexOf(true)).toBe(
      reports.findIndex(({ sequence }) => sequence === 3),
    );
    expect(finals().filter(({ ticket }) => ticket === later.order.ticket)).toHaveLength(1);
    expect(outbox.backlog).toBe(0);
  });

  test("what the edge could not settle is sent again after a second, the rest is not", async () => {
    reporter.wake();
    await pass(0);
    const [settled, unsettled] = [open(), open()];
    answer = () => ({ stop: [], again: [1] });
    end(settled);
    end(unsettled);
    await pass(REPORT_MIN_GAP_MS);
    answer = TAKES;
    await pass(REPORT_INTERVAL_MS - 1);
    expect(finals()).toHaveLength(2);
    await pass(REPORT_INTERVAL_MS);
    expect(finals().map(({ ticket }) => ticket)).toEqual([
      settled.order.ticket,
      unsettled.order.ticket,
      unsettled.order.ticket,
    ]);
    expect(outbox.empty).toBe(true);
  });

  test("`again` for a request that still runs brings nothing twice", async () => {
    const request = open();
    answer = () => ({ stop: [], again: [0, 17] });
    await pass(REPORT_INTERVAL_MS);
    answer = TAKES;
    end(request);
    await pass(5_000);
    expect(finals()).toHaveLength(1);
  });

  test("tallies ride along once, with the batch that carried them", async () => {
    reporter.wake();
    await pass(0);
    tallies.count("r0", "m", "failed", 0);
    answer = REFUSES;
    reporter.hurry();
    await pass(REPORT_MIN_GAP_MS);
    tallies.count("r0", "m", "failed", 0);
    answer = TAKES;
    await pass(5_000);
    const carrying = reports.filter(({ tallies: carried }) => carried.length > 0);
    expect(carrying.map(({ sequence, tallies: [tally] }) => [sequence, tally!.failed])).toEqual([
      [2, 1],
      [2, 1],
      [3, 1],
    ]);
  });
});

describe("bounds", () => {
  test("more finals than fit wait for the next batch", async () => {
    reporter.wake();
    await pass(0);
    const count = REPORT_ENTRIES_MAX + 10;
    for (let index = 0; index < count; index++) {
      outbox.add({ ticket: `t${index}`, usage: usageOf(1), final: true, outcome: "complete" });
    }
    reporter.wake();
    await pass(3 * REPORT_MIN_GAP_MS);
    expect(reports.slice(1, 3).map(({ usage }) => usage.length)).toEqual([REPORT_ENTRIES_MAX, 10]);
  });

  test("long tickets do not make a batch larger than the edge takes", async () => {
    for (let index = 0; index < 4_000; index++) {
      const ticket = `${index}`.padEnd(2_000, "t");
      outbox.add({ ticket, usage: usageOf(1), final: true, outcome: "complete" });
    }
    reporter.wake();
    await pass(10 * REPORT_MIN_GAP_MS);
    for (const report of reports) expect(JSON.stringify(report).length).toBeLessThan(REPORT_MAX_BYTES);
    expect(new Set(finals().map(({ ticket }) => ticket)).size).toBe(4_000);
  });

  test("more open requests than fit take turns", async () => {
    const requests = Array.from({ length: REPORT_ENTRIES_MAX + 100 }, () => open());
    await pass(2 * REPORT_INTERVAL_MS);
    const told = new Set(reports.flatMap((report) => ticketsOf(report) ?? []));
    expect(told.size).toBe(requests.length);
  });

  test("a backlog beyond its bound drops the oldest, and says so", () => {
    for (let index = 0; index < REPORT_BACKLOG_MAX + 3; index++) {
      outbox.add({ ticket: `t${index}`, usage: usageOf(1), final: true, outcome: "complete" });
    }
    expect(outbox.dropped).toBe(3);
    expect(outbox.next(meter, tallies, 0, 0).usage[0]!.ticket).toBe("t3");
  });
});

describe("what is said of a request", () => {
  test("nothing before its first token, while it may still fail over", async () => {
    const request = open({ begun: false, startByMs: Date.now() + 2_500 });
    await pass(2_000);
    expect(reports.flatMap(({ usage }) => usage)).toEqual([]);
    await pass(1_000);
    expect(ticketsOf(reports.at(-1))).toEqual([request.order.ticket]);
  });

  test("a stop reaches every attempt of the request, and no other request", async () => {
    const [meant, other] = [open({ requestId: "req-meant" }), open({ requestId: "req-other" })];
    const retried = open({ requestId: "req-meant", attempt: 1 });
    answer = () => ({ stop: ["req-meant", "req-unknown"], again: [] });
    await pass(REPORT_INTERVAL_MS);
    expect([meant.stopped, retried.stopped, other.stopped]).toEqual([1, 1, 0]);
  });

  test("its tokens join the tallies as they flow, cached ones left out", async () => {
    reporter.wake();
    await pass(0);
    const request = open();
    request.used = 20;
    await pass(REPORT_INTERVAL_MS);
    request.used = 50;
    end(request);
    await pass(REPORT_INTERVAL_MS);
    const flows = reports.flatMap(({ tallies: carried }) => carried.map(({ tokens }) => tokens));
    expect(flows).toEqual([10 - 4 + 20, 30]);
  });
});

test("`delivered` waits for the last bill", async () => {
  answer = REFUSES;
  end(open());
  let delivered = false;
  void reporter.delivered().then(() => {
    delivered = true;
  });
  await pass(3_000);
  expect(delivered).toBe(false);
  answer = TAKES;
  await pass(2_000);
  expect(delivered).toBe(true);
});
