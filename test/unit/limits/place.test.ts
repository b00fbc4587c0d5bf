import { describe, expect, it } from "vitest";
import { SHARDS_MAX } from "../../../src/bounds.ts";
import { LOCATION_HINTS, locationOf, placeFrom, shardAt, shardOf } from "../../../src/catalogue.ts";

describe("a budget object's place", () => {
  it("names its location and is read back", () => {
    for (const hint of LOCATION_HINTS) {
      for (let shard = 0; shard < SHARDS_MAX; shard += 1) {
        const place = shardAt(hint, shard);
        expect(placeFrom(place)).toBe(place);
        expect(locationOf(place)).toBe(hint);
        expect(shardOf(place)).toBe(shard);
      }
    }
    expect(shardAt("enam", 0)).toBe("enam");
  });

  it.each([
    "",
    "enam#0",
    "enam#8",
    "enam#01",
    "enam#-1",
    "enam#1.5",
    "enam#",
    "enam#1#1",
    "mars",
    "mars#1",
    "enam/x",
  ])("is refused when there is no such object: %j", (text) => expect(placeFrom(text)).toBeNull());
});
