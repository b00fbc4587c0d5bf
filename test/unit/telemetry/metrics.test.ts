import { expect, test } from "vitest";
import { Breakers } from "../../../src/routing/breakers.ts";
import type { PoolState } from "../../../src/routing/messages.ts";
import { exposition } from "../../../src/telemetry/metrics.ts";

test("transitions of breakers are told with their cause, and are those that the pools counted", () => {
  const breakers = new Breakers(null, 0, () => 0);
  for (const replica of ["a", "b"]) {
    breakers.observe(replica, { ok: 0, failed: 5, slow: 0, overloaded: 0 }, null, 1_000);
  }
  // Kept over a restart of the pool's object.
  const after = new Breakers(JSON.parse(JSON.stringify(breakers.save())), 2_000, () => 0);
  const state: PoolState = {
    ...{ pool: "fra-1", model: "meta/llama", epoch: 1, atMs: 0, replicas: [], capacity: 0, inUse: 0 },
    ...{ waiting: 0, colo: null, breakers: after.view(2_000) },
  };
  expect(exposition([state])).toContain(
    'meridian_breaker_transitions_total{pool="fra-1",model="meta/llama",from="closed",to="open",cause="failures_in_a_row"} 2\n',
  );
});
