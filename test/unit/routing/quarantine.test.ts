import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  DEATHS_MAX,
  QUARANTINE_BYSTANDERS_MAX,
  QUARANTINE_HELD_MAX,
  QUARANTINE_MAX_MS,
  QUARANTINE_MIN_MS,
  QUARANTINE_SUSPECTS_MAX,
  QUARANTINE_WINDOW_MS,
} from "../../../src/bounds.ts";
import type { Death, Present } from "../../../src/routing/messages.ts";
import {
  cleared,
  died,
  isHeld,
  NOBODY,
  type QuarantineState,
  released,
} from "../../../src/routing/quarantine.ts";

const NOW = 1_000_000_000;
let number = 0;

function death(pool: string, replica: string, atMs: number, present: readonly Present[]): Death {
  number += 1;
  return { id: `${pool}/${replica}/${number}`, pool, replica, atMs, present };
}

const there = (fingerprint: string, begun = true): Present => ({ fingerprint, begun });
const many = (name: string, count: number) => Array.from({ length: count }, (_, at) => there(`${name}${at}`));

function heldIn(state: QuarantineState, nowMs: number): string[] {
  return Object.entries(state.suspects).flatMap(([name, suspect]) => (isHeld(suspect, nowMs) ? [name] : []));
}

describe("a request that kills", () => {
  it("is held at its second death, and alone", () => {
    const first = died(NOBODY, [death("us", "r0", NOW, [there("poison"), ...many("a", 40)])], NOW);
    expect(first.held).toEqual([]);
    const second = died(
      first.state,
      [death("us", "r1", NOW + 400, [there("poison"), ...many("b", 40)])],
      NOW + 400,
    );
    expect(second.held).toEqual(["poison"]);
    expect(heldIn(second.state, NOW + 400 + QUARANTINE_MIN_MS - 1)).toEqual(["poison"]);
    expect(heldIn(second.state, NOW + 400 + QUARANTINE_MIN_MS)).toEqual([]);
  });

  it("is not held when its deaths are too far apart", () => {
    const { state } = died(NOBODY, [death("us", "r0", NOW, [there("f")])], NOW);
    const laterMs = NOW + QUARANTINE_WINDOW_MS + 1;
    expect(died(state, [death("us", "r1", laterMs, [there("f")])], laterMs).held).toEqual([]);
  });

  it("counts a death once, however often it is told", () => {
    const one = death("us", "r0", NOW, [there("f")]);
    const { state } = died(NOBODY, [one, one], NOW);
    expect(died(state, [one], NOW).held).toEqual([]);
  });

  it("is held for longer each time, up to the bound, and an operator can let it go", () => {
    let state = NOBODY;
    let nowMs = NOW;
    for (let time = 0; time < 12; time++) {
      for (const replica of ["r0", "r1"]) {
        ({ state } = died(state, [death("us", replica, nowMs, [there("f")])], nowMs));
        if (isHeld(state.suspects.f!, nowMs)) break;
        nowMs += 6_000;
      }
      const { heldUntilMs } = state.suspects.f!;
      expect(heldUntilMs - nowMs).toBe(Math.min(QUARANTINE_MAX_MS, QUARANTINE_MIN_MS * 2 ** time));
      nowMs = heldUntilMs;
    }
    const after = released(state, "f");
    expect(heldIn(after, nowMs - 1)).toEqual([]);
    expect(died(after, [death("us", "r0", nowMs, [there("f")])], nowMs).held).toEqual([]);
  });

  it("is found among those who moved with it by having no token yet", () => {
    const crowd = many("c", 50);
    const { state } = died(NOBODY, [death("us", "r0", NOW, [there("poison", false), ...crowd])], NOW);
    const again = [there("poison", false), ...crowd.map((one, at) => ({ ...one, begun: at > 10 }))];
    expect(died(state, [death("us", "r1", NOW + 900, again)], NOW + 900).held).toEqual(["poison"]);
  });

  it("is held although it kills many replicas at once, sent many times", () => {
    let state = NOBODY;
    const held: string[] = [];
    for (let replica = 0; replica < 6; replica++) {
      const atMs = NOW + replica * 50;
      const judged = died(
        state,
        [death("us", `r${replica}`, atMs, [there("f"), ...many(`x${replica}-`, 9)])],
        atMs,
      );
      ({ state } = judged);
      held.push(...judged.held);
    }
    expect(new Set(held)).toEqual(new Set(["f"]));
    expect(heldIn(state, NOW + 1_000)).toEqual(["f"]);
  });
});

describe("bystanders", () => {
  it("who complete after a death are cleared of it", () => {
    const { state } = died(NOBODY, [death("us", "r0", NOW, [there("f"), there("g")])], NOW);
    const after = cleared(state, ["f", "unknown"]);
    const second = died(after, [death("eu", "r0", NOW + 9_000, [there("f"), there("g")])], NOW + 9_000);
    expect(second.held).toEqual(["g"]);
  });

  it("of a crowd that was present twice nobody is held", () => {
    const crowd = many("c", QUARANTINE_BYSTANDERS_MAX + 1);
    const { state } = died(NOBODY, [death("us", "r0", NOW, crowd)], NOW);
    expect(died(state, [death("eu", "r0", NOW + 900, crowd)], NOW + 900).held).toEqual([]);
  });

  it("are let go when a third death shows that the place is why", () => {
    const f = [there("f")];
    const { state: one } = died(NOBODY, [death("us", "r0", NOW, f)], NOW);
    const { state: two, held } = died(one, [death("us", "r1", NOW + 300, f)], NOW + 300);
    expect(held).toEqual(["f"]);
    const three = died(two, [death("us", "r2", NOW + 600, many("z", 3))], NOW + 600);
    expect(three.retracted).toEqual(["f"]);
    expect(heldIn(three.state, NOW + 600)).toEqual([]);
  });
});

/** Regions of replicas with streams that move on, as edge and pools move them: each to a random replica that lives. */
function world(regions: number, replicas: number, streams: number, random: () => number) {
  const names = Array.from(
    { length: regions * replicas },
    (_, at) => `${Math.floor(at / replicas)}/${at % replicas}`,
  );
  const down = new Set<string>();
  const at = new Map<string, { replica: string; begun: boolean }>();
  const deaths = new Map<string, number>();
  const place = (fingerprint: string, begun: boolean) => {
    const alive = names.filter((name) => !down.has(name));
    if (alive.length === 0) at.delete(fingerprint);
    else at.set(fingerprint, { replica: alive[Math.floor(random() * alive.length)]!, begun });
  };
  for (let stream = 0; stream < streams; stream++) place(`s${stream}`, true);
  return {
    names,
    at,
    place,
    /** Kills a replica; those that it had are moved on, and a fifth of them have no token yet at the next look. */
    kill(name: string, atMs: number): Death {
      down.add(name);
      const [pool, replica] = name.split("/") as [string, string];
      const had = [...at].filter(([, where]) => where.replica === name);
      const present = had.map(([fingerprint, { begun }]) => ({ fingerprint, begun }));
      for (const [fingerprint] of had) {
        // Nobody sends a request on with which two engines have died.
        deaths.set(fingerprint, (deaths.get(fingerprint) ?? 0) + 1);
        if (deaths.get(fingerprint)! >= DEATHS_MAX) at.delete(fingerprint);
        else place(fingerprint, random() > 0.2);
      }
      return death(pool, replica, atMs, present);
    },
  };
}

const seeded = fc.integer({ min: 1, max: 2 ** 31 - 1 }).map((seed) => {
  let state = seed;
  return () => {
    state = Math.imul(state, 1_103_515_245) + 12_345;
    return ((state >>> 8) & 0xffffff) / 2 ** 24;
  };
});

describe("simulated", () => {
  it("a request that kills is held after two deaths, and at most seven others with it", () => {
    fc.assert(
      fc.property(
        seeded,
        fc.integer({ min: 2, max: 8 }),
        fc.integer({ min: 0, max: 300 }),
        fc.boolean(),
        (random, replicas, streams, begun) => {
          const { at, place, kill } = world(3, replicas, streams, random);
          let state = NOBODY;
          let held: readonly string[] = [];
          for (let time = 0; time < 2; time++) {
            place("poison", begun);
            const judged = died(state, [kill(at.get("poison")!.replica, NOW + time * 400)], NOW + time * 400);
            ({ state } = judged);
            held = judged.held;
          }
          // With three regions of two replicas and more a crowd of nine hardly moves to the same one.
          expect(held.length).toBeLessThanOrEqual(QUARANTINE_BYSTANDERS_MAX);
          if (streams / (3 * replicas) <= 30 && !begun) expect(held).toContain("poison");
          if (streams <= 60) expect(held).toContain("poison");
        },
      ),
      { numRuns: 300 },
    );
  });

  it.each([
    [32, 2_000],
    [8, 500],
    [3, 180],
  ])(
    "a region of %i replicas dies, and then the next, with %i streams: nobody is held",
    (replicas, streams) => {
      fc.assert(
        fc.property(seeded, (random) => {
          const { names, kill } = world(3, replicas, streams, random);
          let state = NOBODY;
          for (const region of ["0", "1"]) {
            const fromMs = NOW + Number(region) * 3_000;
            const dying = names.filter((name) => name.startsWith(`${region}/`));
            // Gates see the deaths of one event within a second, and report them in a few batches.
            const deaths = dying.map((name, at) =>
              kill(name, fromMs + Math.floor((at * 900) / dying.length)),
            );
            for (let from = 0; from < deaths.length; from += 5) {
              ({ state } = died(state, deaths.slice(from, from + 5), fromMs + 1_000));
            }
          }
          expect(heldIn(state, NOW + 10_000)).toEqual([]);
        }),
        { numRuns: 20 },
      );
    },
  );

  it("never grows beyond its bounds", () => {
    let state = NOBODY;
    for (let at = 0; at < 400; at++) {
      const pair = [there(`p${at}`), ...many(`n${at}-`, 5)];
      for (const replica of ["a", "b"]) {
        const atMs = NOW + at * 100;
        ({ state } = died(state, [death(`${at}${replica}`, replica, atMs, pair)], atMs));
      }
    }
    const size = Object.keys(state.suspects).length;
    expect(heldIn(state, NOW + 40_000).length).toBeLessThanOrEqual(QUARANTINE_HELD_MAX);
    expect(size).toBeLessThanOrEqual(QUARANTINE_HELD_MAX + QUARANTINE_SUSPECTS_MAX);
  });
});
