import { describe, expect, it } from "vitest";
import { baseUrlAmong } from "../../../scripts/deploy/live.ts";
import { missingSecrets, nextKeyMac } from "../../../scripts/deploy/secrets.ts";
import { readSettings, type Settings } from "../../../scripts/deploy/settings.ts";
import { type Bundle, classesAfter, mistakesIn } from "../../../scripts/deploy/verify.ts";
import { said } from "../../../scripts/deploy/wrangler.ts";
import { OBJECTS } from "./rig.ts";

const settings = readSettings();
const bundle: Bundle = { bytes: 1_000_000, gzipBytes: 200_000, exports: OBJECTS };

function mistakes(change: Partial<Settings>, other: Partial<Bundle> = {}): string[] {
  return mistakesIn({ ...settings, ...change }, { ...bundle, ...other });
}

describe("what is checked before a deployment", () => {
  it("finds nothing wrong with wrangler.toml", () => expect(mistakes({})).toEqual([]));

  it.each<[string, Partial<Settings>, Partial<Bundle>, RegExp]>([
    [
      "a class that is not exported",
      {},
      { exports: OBJECTS.slice(1) },
      /does not export the class Directory/,
    ],
    ["no default export", {}, { exports: OBJECTS.slice(0, -1) }, /no default export/],
    [
      "a class without a migration",
      { objects: { ...settings.objects, MORE: "Registry2" } },
      {},
      /MORE: no migration/,
    ],
    ["a class bound nowhere", { objects: {} }, {}, /bound nowhere/],
    [
      "a class with the old storage",
      { migrations: [{ tag: "v1", new_classes: ["Registry"] }] },
      {},
      /SQL storage/,
    ],
    ["a tag used twice", { migrations: [...settings.migrations, { tag: "v1" }] }, {}, /v1 is there twice/],
    [
      "a secret not declared",
      { requiredSecrets: settings.requiredSecrets.slice(1) },
      {},
      /KEY_MAC_SECRETS is not/,
    ],
    [
      "a secret that nobody makes",
      { requiredSecrets: [...settings.requiredSecrets, "X"] },
      {},
      /X is required/,
    ],
    [
      "a secret in the open",
      { vars: { ...settings.vars, TICKET_SECRET: "x" } },
      {},
      /stands there in the open/,
    ],
    ["development mode", { vars: { MERIDIAN_MODE: "development" } }, {}, /MERIDIAN_MODE/],
    ["a bundle too large to upload", {}, { gzipBytes: 3_000_001 }, /3000001 bytes compressed/],
    ["a bundle too large to load", {}, { bytes: 64_000_001 }, /uncompressed/],
  ])("finds %s", (_, change, other, expected) => {
    expect(mistakes(change, other).join("\n")).toMatch(expected);
  });

  it("follows classes through every kind of migration", () => {
    const classes = classesAfter([
      { tag: "v1", new_sqlite_classes: ["A", "B"], new_classes: ["C"] },
      { tag: "v2", renamed_classes: [{ from: "A", to: "D" }], deleted_classes: ["B"] },
    ]);
    expect([...classes]).toEqual([
      ["C", "kv"],
      ["D", "sql"],
    ]);
  });
});

describe("secrets", () => {
  it("are missing when there is no Worker, or when it lacks them", () => {
    expect(missingSecrets(null)).toHaveLength(4);
    expect(missingSecrets(["TICKET_SECRET", "OTHER"])).not.toContain("TICKET_SECRET");
  });

  it("count the key MAC's versions on, in the order in which the Worker compares them", () => {
    expect(nextKeyMac(["KEY_MAC_SECRETS"]).name).toBe("KEY_MAC_SECRETS_2");
    expect(nextKeyMac(["KEY_MAC_SECRETS_9", "KEY_MAC_SECRETS_3"]).name).toBe("KEY_MAC_SECRETS_A");
    expect(nextKeyMac(["KEY_MAC_SECRETS_Z"]).name).toBe("KEY_MAC_SECRETS_a");
    expect(() => nextKeyMac(["KEY_MAC_SECRETS_z"])).toThrow("every version");
  });
});

describe("wrangler's words", () => {
  it("tell the address", () => {
    expect(baseUrlAmong(["https://meridian.example.workers.dev"])).toBe(
      "https://meridian.example.workers.dev",
    );
    expect(baseUrlAmong(["a.example.net/v1/*", "b.example.net (custom domain)"])).toBe(
      "https://b.example.net",
    );
    expect(baseUrlAmong(["a.example.net/v1/*"])).toBeNull();
  });

  it("are kept without colours, frames and the path of a log", () => {
    const stderr = '\u001b[31m✘ [ERROR]\u001b[0m It broke\n\n──────\n🪵  Logs were written to "x.log"\n';
    expect(said({ status: 1, stdout: "", stderr })).toBe(":\n  ✘ [ERROR] It broke");
  });
});
