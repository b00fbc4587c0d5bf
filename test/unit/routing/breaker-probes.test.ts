import { describe, expect, it } from "vitest";
import { Breakers } from "../../../src/routing/breakers.ts";

const START = 1_800_000_000_000;
const CALM = { waiting: 0, kvCacheUsage: 0.5, gpuMemoryUsage: null };
const NOTHING = { ok: 0, failed: 0, slow: 0, overloaded: 0 };
/** The longest pause after a first opening. */
const HALF_OPEN_MS = START + 5_000;

/** A breaker that opened at START and is half open since HALF_OPEN_MS. */
function halfOpen(): Breakers {
  const breakers = new Breakers(null, START, () => 1);
  breakers.observe("r", { ...NOTHING, failed: 5 }, CALM, START);
  expect(breakers.state("r", HALF_OPEN_MS - 1)).toBe("open");
  expect(breakers.state("r", HALF_OPEN_MS)).toBe("half_open");
  return breakers;
}

describe("probes", () => {
  it("where little traffic comes: one success is enough after 30 s, and not before", () => {
    const breakers = halfOpen();
    breakers.sent("r", "1", HALF_OPEN_MS);
    breakers.ended("r", "1", "answered", HALF_OPEN_MS + 100);
    expect(breakers.state("r", HALF_OPEN_MS + 29_999)).toBe("half_open");
    expect(breakers.state("r", HALF_OPEN_MS + 30_000)).toBe("closed");
  });

  it("that say nothing open it again, for no longer than before", () => {
    const breakers = halfOpen();
    for (const id of ["1", "2", "3", "4", "5"]) {
      breakers.sent("r", id, HALF_OPEN_MS);
      breakers.ended("r", id, "client_gone", HALF_OPEN_MS);
    }
    expect(breakers.view(HALF_OPEN_MS).transitions.at(-1)).toMatchObject({ cause: "probes_inconclusive" });
    expect(breakers.state("r", HALF_OPEN_MS + 4_999)).toBe("open");
    expect(breakers.state("r", HALF_OPEN_MS + 5_000)).toBe("half_open");
    // And when they fail the pause is the second one, not the third.
    for (const id of ["6", "7"]) {
      breakers.sent("r", id, HALF_OPEN_MS + 5_000);
      breakers.ended("r", id, "failed", HALF_OPEN_MS + 5_000);
    }
    expect(breakers.state("r", HALF_OPEN_MS + 14_999)).toBe("open");
    expect(breakers.state("r", HALF_OPEN_MS + 15_000)).toBe("half_open");
  });

  it.each([
    ["passed where gates named nothing", NOTHING, "closed"],
    ["failed where gates named something slow", { ...NOTHING, slow: 1 }, "half_open"],
  ])("that outlive their time, as streams do, have %s", (_, sample, state) => {
    const breakers = halfOpen();
    breakers.sent("r", "1", HALF_OPEN_MS);
    breakers.observe("r", sample, CALM, HALF_OPEN_MS + 20_000);
    expect(breakers.state("r", HALF_OPEN_MS + 29_999)).toBe("half_open");
    expect(breakers.state("r", HALF_OPEN_MS + 30_000)).toBe(state);
  });

  it("that outlive their time and failed are no success besides", () => {
    const breakers = halfOpen();
    for (const id of ["1", "2", "3"]) {
      breakers.sent("r", id, HALF_OPEN_MS);
      breakers.ended("r", id, "answered", HALF_OPEN_MS);
    }
    breakers.sent("r", "4", HALF_OPEN_MS);
    breakers.observe("r", { ...NOTHING, failed: 1 }, CALM, HALF_OPEN_MS + 20_000);
    expect(breakers.state("r", HALF_OPEN_MS + 30_000)).toBe("half_open");
    expect(breakers.mayProbe("r", HALF_OPEN_MS + 30_000)).toBe(true);
  });

  it("double the pause each time they fail, up to five minutes, and five healthy minutes halve it", () => {
    const breakers = halfOpen();
    let now = HALF_OPEN_MS;
    const pauses: number[] = [];
    for (let opened = 0; opened < 8; opened++) {
      for (const id of ["a", "b"]) {
        breakers.sent("r", `${id}${opened}`, now);
        breakers.ended("r", `${id}${opened}`, "failed", now);
      }
      const fromMs = now;
      while (breakers.state("r", now) === "open") now += 1_000;
      pauses.push((now - fromMs) / 1_000);
    }
    expect(pauses).toEqual([10, 20, 40, 80, 160, 300, 300, 300]);
    for (const id of ["1", "2", "3", "4"]) {
      breakers.sent("r", id, now);
      breakers.ended("r", id, "answered", now);
    }
    now += 3 * 300_000;
    breakers.observe("r", { ...NOTHING, failed: 5 }, CALM, now);
    expect([breakers.state("r", now + 39_999), breakers.state("r", now + 40_000)]).toEqual([
      ...["open", "half_open"],
    ]);
  });

  it("that pass give it its work back by steps", () => {
    const breakers = halfOpen();
    for (const id of ["1", "2", "3", "4"]) {
      breakers.sent("r", id, HALF_OPEN_MS);
      breakers.ended("r", id, "answered", HALF_OPEN_MS);
    }
    const at = (ms: number) => breakers.share("r", HALF_OPEN_MS + ms);
    expect([at(0), at(4_999), at(5_000), at(10_000), at(15_000)]).toEqual([0.1, 0.1, 0.25, 0.5, 1]);
  });
});
