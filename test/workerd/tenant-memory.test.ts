import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LEASE_HINT_MS } from "../../src/bounds.ts";
import type { BudgetPlace, LocationHint } from "../../src/catalogue.ts";
import type { KeyClaims } from "../../src/keys.ts";
import { OBJECT_DRAWN_PER_SECOND, SHARD_KEPT_MS } from "../../src/limits/bounds.ts";
import { addressFrom, rememberSilence, rememberTenant, rememberWork } from "../../src/relay/tenant-memory.ts";

const PROFILE = { tenantId: "acme", version: 1, homeHint: "enam", regions: null } as const;
let tenants = 0;

/** A tenant that this isolate has never heard of. */
function stranger(): KeyClaims {
  const tenantRef = `tenant${++tenants}`;
  return { tenantRef, keyId: "key0000001", homeHint: "enam", secretHash: "hash" } as KeyClaims;
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const CROWDED = 0.9;

describe("the budget object that an isolate asks", () => {
  it("is another shard once when its own is crowded, and then the less crowded one", () => {
    // Tries at once; of two or more others the last.
    vi.spyOn(Math, "random").mockReturnValueOnce(0).mockReturnValueOnce(0.99);
    const claims = stranger();
    const heard = (at: BudgetPlace, load: number) =>
      rememberTenant(claims, "enam", { profile: PROFILE, leaseHere: false, heat: { at, load } });
    expect(addressFrom(claims, "enam").at).toBe("enam");
    heard("enam", CROWDED);
    expect(addressFrom(claims, "enam").at, "one request tries").toBe("enam#1");
    expect(addressFrom(claims, "enam").at, "the others stay").toBe("enam");
    heard("enam#1", 0.1);
    expect(addressFrom(claims, "enam").at).toBe("enam#1");
    expect(addressFrom(claims, "weur").at, "another location").toBe("enam");
    expect(addressFrom(stranger(), "enam").at, "another tenant").toBe("enam");
    rememberSilence(claims, "enam#1");
    expect(addressFrom(claims, "enam").at, "one that is out of reach is left").toBe("enam");
  });

  it("counts what the isolate itself asks for: it would only take its load along", () => {
    vi.spyOn(Math, "random").mockReturnValue(0);
    const claims = stranger();
    rememberWork(claims, "enam", { asked: 0, drawn: CROWDED * OBJECT_DRAWN_PER_SECOND * 5 });
    rememberTenant(claims, "enam", {
      profile: PROFILE,
      leaseHere: false,
      heat: { at: "enam", load: CROWDED },
    });
    expect(addressFrom(claims, "enam").at).toBe("enam#1");
    rememberTenant(claims, "enam", { profile: PROFILE, leaseHere: false, heat: { at: "enam#1", load: 0 } });
    expect(addressFrom(claims, "enam").at).toBe("enam");
  });

  it("is the location's own again when it was not heard of for a while", () => {
    const claims = moved("enam", false);
    vi.advanceTimersByTime(SHARD_KEPT_MS);
    expect(addressFrom(claims, "enam").at).toBe("enam#1");
    vi.advanceTimersByTime(1);
    expect(addressFrom(claims, "enam").at).toBe("enam");
  });

  it("is the home where no lease is, whatever was said of heat", () => {
    const claims = moved("weur", true);
    expect(addressFrom(claims, "weur").at).toBe("weur#1");
    vi.advanceTimersByTime(LEASE_HINT_MS + 1);
    expect(addressFrom(claims, "weur").at).toBe("enam");
  });
});

/** A tenant for which this isolate has moved to the second shard of a location. */
function moved(here: LocationHint, leaseHere: boolean): KeyClaims {
  vi.spyOn(Math, "random").mockReturnValue(0);
  const claims = stranger();
  for (const at of [here, `${here}#1`] as const) {
    const load = at === here ? CROWDED : 0.1;
    rememberTenant(claims, here, { profile: PROFILE, leaseHere, heat: { at, load } });
    addressFrom(claims, here);
  }
  return claims;
}
