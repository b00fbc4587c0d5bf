import { expect, it } from "vitest";
import { runChaos } from "../../sim/chaos/run.ts";
import { firstPort } from "../support/ports.ts";

/** `npm run chaos` in short. */
it("40 requests survive the death of a replica and of a gate, and are paid for once", async () => {
  const { rows, charged, delivered, openReservations } = await runChaos(40, 7, () => undefined, firstPort());
  expect(rows.filter(({ miss }) => miss !== null).map(({ request, miss }) => [request, miss])).toEqual([]);
  expect(rows).toHaveLength(40);
  // Or nothing was shown.
  expect(rows.filter(({ resumes }) => resumes > 0).length).toBeGreaterThan(0);
  expect({ promptTokens: charged.promptTokens, outputTokens: charged.outputTokens }).toEqual(delivered);
  expect(openReservations).toBe(0);
}, 120_000);
