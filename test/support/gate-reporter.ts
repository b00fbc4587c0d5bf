import { vi } from "vitest";
import type { GateReply, GateReport, Usage } from "../../src/contract/report.ts";
import { systemClock } from "../../src/gate/clock.ts";
import { Deaths } from "../../src/gate/deaths.ts";
import { finalReport, Meter, type Running } from "../../src/gate/meter.ts";
import { Outbox } from "../../src/gate/outbox.ts";
import { CADENCE, Reporter } from "../../src/gate/reporter.ts";
import { Tallies } from "../../src/gate/tallies.ts";
import { orderOf } from "./gate-rig.ts";

/** An edge that answers when and how the test says. */
export type Answer = (report: GateReport) => GateReply | Error | "never";
export const TAKES: Answer = () => ({ stop: [], again: [] });
export const REFUSES: Answer = () => new Error("the edge answered 503");

export interface TestRequest extends Running {
  used: number;
  stopped: number;
}

export const usageOf = (outputTokens: number): Usage => ({ promptTokens: 10, cachedTokens: 4, outputTokens });
export const ticketsOf = (report: GateReport | undefined) => report?.usage.map(({ ticket }) => ticket);
/** Lets fake time pass. */
export const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

/** A reporter without a gate around it. For fake timers. */
export function reporterRig() {
  const tallies = new Tallies();
  const meter = new Meter(tallies);
  const outbox = new Outbox();
  const deaths = new Deaths("a", systemClock, () => reporter.hurry());
  const drains: (number | null)[] = [];
  const reports: GateReport[] = [];
  const reporter = new Reporter({
    ...{ pool: "us-east", gate: "a", meter, outbox, tallies, deaths, clock: systemClock },
    onDrain: (drainMs) => void drains.push(drainMs),
    replicas: () => [],
    draining: () => false,
    post(report) {
      reports.push(structuredClone(report));
      const given = rig.answer(report);
      if (given === "never") return new Promise(() => {});
      return given instanceof Error ? Promise.reject(given) : Promise.resolve(given);
    },
    cadence: CADENCE,
    random: () => 1,
    log: {
      info() {},
      warn() {
        rig.warnings += 1;
      },
    },
  });
  const rig = {
    ...{ tallies, meter, outbox, deaths, drains, reports, reporter },
    answer: TAKES,
    warnings: 0,
    finals: () => reports.flatMap(({ usage }) => usage).filter(({ final }) => final),
    open(changes: Parameters<typeof orderOf>[0] & { begun?: boolean; unsent?: boolean } = {}): TestRequest {
      const { begun, unsent, ...order } = changes;
      const request: TestRequest = {
        order: orderOf({ startByMs: Date.now() + 30_000, ...order }),
        begun: begun ?? true,
        unsent: unsent ?? false,
        used: 0,
        stopped: 0,
        usage: () => usageOf(request.used),
        stop() {
          request.stopped += 1;
        },
        giveUp() {},
        movable: false,
        move() {},
        replicaGone() {},
      };
      meter.begin(request, systemClock.monotonicMs());
      reporter.wake();
      return request;
    },
    end(request: TestRequest): void {
      meter.end(request);
      reporter.final(finalReport(request.order, request.usage(), "complete", false));
    },
  };
  return rig;
}
