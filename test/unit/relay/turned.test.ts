import { expect, test } from "vitest";
import { rememberTurned, turnedSince } from "../../../src/relay/turned.ts";

const POOLS = [{ id: "a" }, { id: "b" }];
const full = { kind: "refused", reason: "full", retryAfterMs: 1_000 } as const;

test("a refusal counts until it is over or a newer snapshot came", () => {
  rememberTurned("a", "m", full, 5_000);
  const at = (snapshotAtMs: number, nowMs: number) => [
    ...turnedSince(POOLS, "m", snapshotAtMs, nowMs).keys(),
  ];
  expect(at(4_000, 5_100)).toEqual(["a"]);
  expect(at(4_000, 6_000)).toEqual([]);
  expect(at(5_050, 5_100)).toEqual([]);
  expect(turnedSince(POOLS, "m", 4_000, 5_100).get("a")).toMatchObject({ untilMs: 6_000 });
});

test("it is about one model of one pool, and about room: a missing replica is another matter", () => {
  rememberTurned("a", "one", full, 5_000);
  rememberTurned("b", "one", { ...full, reason: "no_replica" }, 5_000);
  expect([...turnedSince(POOLS, "one", 0, 5_100).keys()]).toEqual(["a"]);
  expect([...turnedSince(POOLS, "other", 0, 5_100).keys()]).toEqual([]);
});
