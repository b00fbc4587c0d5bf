import { describe, expect, it } from "vitest";
import { bandOf, keyBands } from "../../../src/catalogue.ts";
import { FailureError, told } from "../../../src/errors.ts";
import { askedOf } from "../../../src/relay/asked.ts";

const asked = (headers: Record<string, string>) => askedOf(new Headers(headers));

describe("what a client says of its place in the queue", () => {
  it("is nothing by default", () => {
    expect(asked({})).toEqual({ band: null, firstTokenWithinMs: null, session: null });
  });

  it("is read as it is meant", () => {
    const headers = {
      "x-meridian-priority": "Interactive",
      "x-meridian-deadline-ms": " 1500 ",
      "x-meridian-session": "s-1",
    };
    expect(asked(headers)).toEqual({ band: "interactive", firstTokenWithinMs: 1_500, session: "s-1" });
  });

  it.each([
    ["x-meridian-priority", "urgent"],
    ["x-meridian-priority", ""],
    ["x-meridian-deadline-ms", "0"],
    ["x-meridian-deadline-ms", "49"],
    ["x-meridian-deadline-ms", "60001"],
    ["x-meridian-deadline-ms", "1e3"],
    ["x-meridian-deadline-ms", "-5"],
    ["x-meridian-deadline-ms", "soon"],
    ["x-meridian-session", "s".repeat(257)],
  ])("%s: %j is refused by name", (header, value) => {
    let failure: unknown;
    try {
      asked({ [header]: value });
    } catch (error) {
      failure = error instanceof FailureError ? told(error.failure) : error;
    }
    expect(failure).toMatchObject({ status: 400, param: header });
  });
});

describe("a request's band", () => {
  it.each([
    [{}, null, "default"],
    [{}, "interactive", "default"],
    [{}, "batch", "batch"],
    [{ priority: "interactive" }, null, "default"],
    [{ priority: "interactive" }, "interactive", "interactive"],
    [{ priority: "interactive", defaultPriority: "interactive" }, null, "interactive"],
    [{ priority: "batch" }, null, "batch"],
    [{ priority: "batch" }, "default", "batch"],
    [{ priority: "batch", defaultPriority: "interactive" }, null, "batch"],
    [{ defaultPriority: "batch" }, "default", "default"],
  ] as const)("of a key with %j that asks for %j is %s", (settings, band, expected) => {
    expect(bandOf(band, keyBands(settings))).toBe(expected);
  });
});
