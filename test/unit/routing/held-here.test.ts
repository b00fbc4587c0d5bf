import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BANDS } from "../../../src/routing/messages.ts";
import { urgencyOf } from "../../../src/routing/pool/bands.ts";
import { BAND_RANK, type Entry, entryOf, kvTokensOf } from "../../../src/routing/pool/entry.ts";
import { HeldHere } from "../../../src/routing/pool/held-here.ts";
import { ask, NOW, work } from "./rig.ts";

const request = fc.record({
  band: fc.constantFrom(...BANDS),
  promptTokens: fc.integer({ min: 1, max: 1_000 }),
  cameMsAgo: fc.nat(25_000),
  leaves: fc.option(fc.nat(20), { nil: null }),
});
const room = fc.record({
  interactive: fc.integer({ min: -1, max: 1_200 }),
  default: fc.integer({ min: -1, max: 1_200 }),
  batch: fc.integer({ min: -1, max: 1_200 }),
});

describe("what is held at a replica", () => {
  it("knows its sums and extremes as a walk through all of it would find them", () => {
    fc.assert(
      fc.property(fc.array(request, { maxLength: 60 }), room, (requests, left) => {
        const held = new HeldHere();
        let entries: Entry[] = [];
        for (const [at, { band, promptTokens, cameMsAgo, leaves }] of requests.entries()) {
          const entry = entryOf(ask(`${at}`, { work: work({ band, promptTokens }) }), at, NOW - cameMsAgo);
          held.add(entry);
          entries.push(entry);
          const gone = leaves === null ? undefined : entries[leaves];
          if (gone) held.delete(gone);
          entries = entries.filter((one) => one !== gone);
          expect(held.urgency(NOW)).toBe(Math.min(Infinity, ...entries.map((one) => urgencyOf(one, NOW))));
          expect(held.noneFits(left)).toBe(
            entries.every((one) => kvTokensOf(one.work) > left[one.work.band]),
          );
          for (const band of BANDS) {
            const before = entries.filter((one) => BAND_RANK[one.work.band] <= BAND_RANK[band]);
            expect(held.before(band)).toEqual({
              tokens: before.reduce((sum, one) => sum + one.uncachedTokens, 0),
              requests: before.length,
              kvTokens: before.reduce((sum, one) => sum + kvTokensOf(one.work), 0),
            });
          }
        }
      }),
    );
  });
});
