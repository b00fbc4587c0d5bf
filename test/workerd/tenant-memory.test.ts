import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LEASE_HINT_MS } from "../../src/bounds.ts";
import { locationOf } from "../../src/catalogue.ts";
import type { KeyClaims } from "../../src/keys.ts";
import { addressFrom, rememberTenant } from "../../src/relay/tenant-memory.ts";

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

describe("the budget object that an isolate asks", () => {
  it("is a shard of its own location, the same each time, when a location's own object said so", () => {
    // Odd, so that it is never the location's own object again.
    vi.spyOn(crypto, "getRandomValues").mockImplementation((numbers) => {
      (numbers as unknown as Uint32Array)[0] = 7;
      return numbers;
    });
    const claims = stranger();
    expect(addressFrom(claims, "enam").at).toBe("enam");
    rememberTenant(claims, "enam", { profile: PROFILE, leaseHere: false, shards: 4 });
    expect(addressFrom(claims, "enam").at).toBe("enam#3");
    expect(addressFrom(claims, "enam").at).toBe("enam#3");
    rememberTenant(claims, "enam", { profile: PROFILE, leaseHere: true });
    expect(addressFrom(claims, "enam").at, "a shard's own answer says nothing").toBe("enam#3");
    rememberTenant(claims, "enam", { profile: PROFILE, leaseHere: false, shards: 2 });
    expect(addressFrom(claims, "enam").at).toBe("enam#1");
  });

  it("is the location's own again when it was not heard of for a while", () => {
    const claims = stranger();
    rememberTenant(claims, "enam", { profile: PROFILE, leaseHere: false, shards: 8 });
    vi.advanceTimersByTime(LEASE_HINT_MS + 1);
    expect(addressFrom(claims, "enam").at).toBe("enam");
  });

  it("is the home where no lease is, whatever was said of shards", () => {
    const claims = stranger();
    rememberTenant(claims, "weur", { profile: PROFILE, leaseHere: false, shards: 8 });
    expect(addressFrom(claims, "weur").at).toBe("enam");
    rememberTenant(claims, "weur", { profile: PROFILE, leaseHere: true, shards: 8 });
    expect(locationOf(addressFrom(claims, "weur").at)).toBe("weur");
    expect(addressFrom(claims, "enam").at, "another location").toBe("enam");
  });
});
