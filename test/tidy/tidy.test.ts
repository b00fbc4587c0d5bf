import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readSettings } from "../../scripts/deploy/settings.ts";
import { OBJECT_CLASSES, writeEdgeConfig } from "../../sim/stack/edge.ts";
import { unusedBounds } from "./bounds.ts";
import { importsOf } from "./imports.ts";
import { circles, wrongDirections } from "./layers.ts";
import { longFiles, longFunctions } from "./length.ts";
import { looseVersions, missingFromLock } from "./packages.ts";
import { compatibility, disagreements, wiringOfEnv, wiringOfWorkerd } from "./platform.ts";
import { impurities } from "./purity.ts";
import { filesOf, parse, ROOT, shown, type Unit, type Violation } from "./source.ts";
import { bannedSyntax, bannedText } from "./words.ts";

/** Style as a test. What each rule looks for is proved on bad samples in checkers.test.ts and manifests.test.ts. */

/**
 * Files that may break a rule, each with the reason why that is better than keeping it. Empty is best. One that is
 * not needed any more fails.
 */
const EXCEPTIONS: readonly { readonly rule: string; readonly path: string; readonly reason: string }[] = [];

const CODE = ["src", "sim", "scripts", "bench", "test"];
const TEXTS = [
  ...[...CODE, "docs", "infra", "console", ".ci"],
  ...["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"],
  ...["package.json", "wrangler.toml", "vitest.config.ts", "biome.json", "tsconfig.json"],
];

const code = filesOf(CODE, [".ts", ".js", ".mjs", ".cjs", ".py", ".sh"]);
const texts = filesOf(TEXTS, [
  ".ts",
  ".js",
  ".mjs",
  ".cjs",
  ".py",
  ".sh",
  ".md",
  ".json",
  ".toml",
  ".tf",
  "run",
]);
const units = parse(code.filter(({ path }) => path.endsWith(".ts")));
const imports = units.flatMap(importsOf);

describe("the repository is tidy", () => {
  it("has code to look at", () => {
    expect(units.length).toBeGreaterThan(80);
    expect(imports.length).toBeGreaterThan(200);
  });

  it("has no file over 300 lines", () => holds("file length", longFiles(code)));
  it("has no function over 70 lines", () => holds("function length", longFunctions(units)));
  it("imports in one direction only", () => holds("import direction", wrongDirections(imports)));
  it("has no cycle of imports", () => holds("import cycle", circles(imports)));

  it("keeps src/limits and src/routing pure", () => {
    holds("purity", impurities(units.filter(({ path }) => /^src\/(limits|routing)\//.test(path))));
  });

  it("reads every bound", () => {
    const isBounds = (path: string) => path === "src/bounds.ts" || path.startsWith("src/bounds/");
    const others = units.filter(({ path }) => path.startsWith("src/") && !isBounds(path));
    const bounds = units.filter(({ path }) => isBounds(path));
    holds(
      "unused bound",
      bounds.flatMap((unit) => unusedBounds(unit, others)),
    );
  });

  it("leaves nothing half done and names no path of a machine", () => {
    const found = bannedText(texts);
    holds("unfinished", found);
    holds("machine path", found);
  });

  it("has neither 'any' nor stray console.log", () => {
    const found = bannedSyntax(units);
    holds("any", found);
    holds("console.log", found);
  });

  it("pins every package", () => holds("exact version", looseVersions(filesOf(["package.json"], [])[0]!)));

  it("locks every package, for every platform", () => {
    holds("lock file", missingFromLock(filesOf(["package-lock.json"], [])[0]!));
  });

  it("binds the same in wrangler.toml, in the local stack and in Env", () => holds("wiring", wiring()));
});

/** Nothing but the listed exceptions breaks the rule, and all of those do. */
function holds(rule: string, found: readonly Violation[]): void {
  const excepted = EXCEPTIONS.filter((exception) => exception.rule === rule).map(({ path }) => path);
  const broken = found.filter((violation) => violation.rule === rule);
  expect(broken.filter(({ path }) => !excepted.includes(path)).map(shown)).toEqual([]);
  expect(excepted.filter((path) => !broken.some((violation) => violation.path === path))).toEqual([]);
}

function unitAt(path: string): Unit {
  const unit = units.find((one) => one.path === path);
  if (!unit) throw new Error(`${path} is gone: change test/tidy too`);
  return unit;
}

function wiring(): Violation[] {
  const settings = readSettings();
  const production = {
    where: "wrangler.toml",
    objects: settings.objects,
    texts: [...settings.requiredSecrets, ...Object.keys(settings.vars)],
    compatibility: compatibility(settings.compatibilityDate, settings.compatibilityFlags),
  };
  const local = wiringOfWorkerd("sim/stack/edge.ts", workerdConfig());
  expect(local.objects).toEqual(OBJECT_CLASSES);
  const types = { ...wiringOfEnv(unitAt("src/env.ts")), compatibility: production.compatibility };
  return disagreements(production, [local, types]);
}

function workerdConfig(): string {
  const folder = mkdtempSync(join(tmpdir(), "meridian-tidy-"));
  try {
    // Any file will do for the bundle: only the config around it is read.
    return readFileSync(writeEdgeConfig(folder, join(ROOT, "package.json"), 1), "utf8");
  } finally {
    rmSync(folder, { recursive: true });
  }
}
