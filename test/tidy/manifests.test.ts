import { describe, expect, it } from "vitest";
import { looseVersions, missingFromLock } from "./packages.ts";
import { disagreements, type Wiring, wiringOfEnv, wiringOfWorkerd } from "./platform.ts";
import { parse, shown } from "./source.ts";

/** The rules of tidy.test.ts on packages and bindings, on samples that break them. */

describe("packages", () => {
  it.each(["^1.2.3", "~1.2.3", "1.2", "*", "latest", ">=1.2.3", "1.x", "git+https://example.net/a.git"])(
    "refuses version %s",
    (version) => {
      const text = JSON.stringify({ devDependencies: { a: "1.2.3", b: version } });
      expect(looseVersions({ path: "package.json", text })).toHaveLength(1);
    },
  );

  it("allows exact versions", () => {
    const text = JSON.stringify({ dependencies: { a: "1.2.3", b: "1.20261102.1", c: "2.0.0-rc.24" } });
    expect(looseVersions({ path: "package.json", text })).toEqual([]);
  });
});

describe("the lock file", () => {
  const lock = (packages: object) => ({ path: "package-lock.json", text: JSON.stringify({ packages }) });

  it("is complete when each package finds what it names, at its side or above", () => {
    const packages = {
      "": { dependencies: { a: "1.0.0" }, devDependencies: { "@s/b": "1.0.0" } },
      "node_modules/a": { dependencies: { c: "^2.0.0", d: "^1.0.0" }, peerDependencies: { maybe: "*" } },
      "node_modules/a/node_modules/c": { dependencies: { d: "^1.0.0" } },
      "node_modules/@s/b": {},
      "node_modules/d": {},
    };
    expect(missingFromLock(lock(packages))).toEqual([]);
  });

  it("lacks what was left out, packages for other platforms included", () => {
    const packages = {
      "": { devDependencies: { a: "1.0.0" } },
      "node_modules/a": { optionalDependencies: { "a-linux": "1.0.0", "a-darwin": "1.0.0" } },
      "node_modules/a-linux": {},
      "node_modules/b/node_modules/a-darwin": {},
    };
    expect(missingFromLock(lock(packages)).map(shown)).toEqual([
      "package-lock.json lock file: a-darwin 1.0.0 is missing; node_modules/a names it",
    ]);
  });
});

describe("wiring", () => {
  const first: Wiring = {
    where: "wrangler.toml",
    objects: { POOL: "Pool", HOME: "Home" },
    texts: ["SECRET"],
    compatibility: "2026-11-01 flag",
  };

  it("agrees with itself", () => expect(disagreements(first, [{ ...first, where: "x" }])).toEqual([]));

  it.each([
    ["a missing class", { objects: { POOL: "Pool" } }, 1],
    ["one class more", { objects: { ...first.objects, MORE: "More" } }, 1],
    ["another class under a binding", { objects: { POOL: "Pond", HOME: "Home" } }, 2],
    ["a missing secret", { texts: [] }, 1],
    ["one secret more", { texts: ["SECRET", "OTHER"] }, 1],
    ["another date", { compatibility: "2026-11-02 flag" }, 2],
  ])("sees %s", (_, change, count) => {
    expect(disagreements(first, [{ ...first, where: "x", ...change }])).toHaveLength(count);
  });

  it("reads the Env type and a workerd config", () => {
    const members = [
      "readonly POOL: DurableObjectNamespace<Pool>; readonly SECRET: string;",
      "readonly OPTIONAL?: string; readonly [name: symbol]: string;",
    ];
    const env = parse([{ path: "src/env.ts", text: `export interface Env { ${members.join(" ")} }` }])[0]!;
    expect(wiringOfEnv(env)).toEqual({ where: "src/env.ts", objects: { POOL: "Pool" }, texts: ["SECRET"] });
    const config = `(name = "POOL", durableObjectNamespace = "Pool"), (name = "SECRET", fromEnvironment = "SECRET"),
      (name = "MODE", text = "x"), compatibilityDate = "2026-11-01", compatibilityFlags = ["b", "a"]`;
    expect(wiringOfWorkerd("edge.ts", config)).toEqual({
      where: "edge.ts",
      objects: { POOL: "Pool" },
      texts: ["SECRET", "MODE"],
      compatibility: "2026-11-01 a b",
    });
  });
});
