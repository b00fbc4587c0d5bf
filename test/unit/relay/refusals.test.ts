import { describe, expect, it } from "vitest";
import { REFUSAL_CACHE_MAX_MS } from "../../../src/bounds.ts";
import type { Dimension, LimitScope } from "../../../src/errors.ts";
import { knownRefusal, rememberRefusal } from "../../../src/relay/refusals.ts";

function refusal(dimension: Dimension, retryAfterMs: number, scope: LimitScope = "tenant") {
  const failure = {
    tag: "rate_limited",
    scope,
    dimension,
    limit: 100,
    used: 100,
    requested: 50,
    retryAfterMs,
  } as const;
  return { ok: false, failure, standing: null } as const;
}

describe("refusals remembered in the isolate", () => {
  it("hold for prompts of at least the same size, with the time that is left", () => {
    rememberRefusal("size", 50, refusal("tokens_per_minute", 2_000), 1_000);
    expect(knownRefusal("size", 50, 1_500)?.failure).toMatchObject({ retryAfterMs: 1_500 });
    expect(knownRefusal("size", 49, 1_500)).toBeNull();
    expect(knownRefusal("other", 50, 1_500)).toBeNull();
    expect(knownRefusal("size", 50, 3_000)).toBeNull();
  });

  it("are forgotten soon, however long the refusal is: a raised limit must come through", () => {
    rememberRefusal("day", 1, refusal("tokens_per_day", 3_600_000), 0);
    expect(knownRefusal("day", 1, REFUSAL_CACHE_MAX_MS - 1)).not.toBeNull();
    expect(knownRefusal("day", 1, REFUSAL_CACHE_MAX_MS)).toBeNull();
  });

  it("are not kept for what may come free at any moment or belongs to one end user", () => {
    rememberRefusal("places", 1, refusal("concurrent_requests", 1_000), 0);
    rememberRefusal("user", 1, refusal("tokens_per_minute", 1_000, "user"), 0);
    expect(knownRefusal("places", 1, 0)).toBeNull();
    expect(knownRefusal("user", 1, 0)).toBeNull();
  });
});
