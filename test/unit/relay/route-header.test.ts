import { expect, test } from "vitest";
import { routeHeader } from "../../../src/relay/route-header.ts";
import { poolAt, ranked, state } from "../routing/pools.ts";

const candidates = ranked({
  pools: [poolAt("a", 30), poolAt("b", 36), poolAt("c", 90), poolAt("d", 20, { drained: true })],
  states: [state("a", 0), state("b", 1), state("c", 0)],
});
const of = (id: string) => candidates.find(({ pool }) => pool.id === id)!;

test("says whether the fastest took it, one as good, or the next", () => {
  expect(routeHeader("country", candidates, of("a"))).toBe("fastest;from=country;rtt=30;place=1;of=3");
  const drawn = [of("b"), of("a"), of("c")];
  expect(routeHeader("coordinates", drawn, of("b"))).toBe("shared;from=coordinates;rtt=36;place=1;of=3");
  expect(routeHeader("coordinates", drawn, of("a"))).toBe("next;from=coordinates;rtt=30;place=2;of=3");
});

test("is the same whatever load others put on the pools", () => {
  const busy = ranked({
    pools: candidates.map(({ pool }) => pool),
    states: [state("a", 3), state("b", 4, { waiting: 50 }), state("c", 4)],
  });
  const first = (list: typeof candidates) =>
    routeHeader("colo", list, list.find(({ pool }) => pool.id === "a")!);
  expect(first(busy)).toBe(first(candidates));
});
