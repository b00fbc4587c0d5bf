import { describe, expect, it } from "vitest";
import { unusedBounds } from "./bounds.ts";
import { cyclesIn, type Import, importsOf } from "./imports.ts";
import { circles, layerOf, wrongDirections } from "./layers.ts";
import { longFiles, longFunctions } from "./length.ts";
import { impurities } from "./purity.ts";
import { parse, shown, type Unit } from "./source.ts";
import { bannedSyntax, bannedText } from "./words.ts";

/** Each rule of tidy.test.ts, on samples that break it and on samples that only look as if they did. */

function unit(path: string, text: string): Unit {
  return parse([{ path, text }])[0]!;
}

function importing(from: string, to: string, typeOnly = false): Import {
  return { from, to, line: 1, typeOnly };
}

describe("lengths", () => {
  const lines = (count: number) => "  x();\n".repeat(count);

  it("takes 300 lines and not 301", () => {
    expect(longFiles([{ path: "a.ts", text: "x\n".repeat(300) }])).toEqual([]);
    expect(longFiles([{ path: "a.ts", text: "x\n".repeat(301) }])).toHaveLength(1);
    expect(longFiles([{ path: "a.ts", text: `${"x\n".repeat(300)}x` }])).toHaveLength(1);
  });

  it("takes a function of 70 lines and not one of 71, without its docstring", () => {
    expect(longFunctions([unit("a.ts", `/** why\n * so */\nfunction f() {\n${lines(68)}}\n`)])).toEqual([]);
    const found = longFunctions([unit("a.ts", `\n\nfunction f() {\n${lines(69)}}\n`)]);
    expect(found.map(shown)).toEqual(["a.ts:3 function length: f has 71 lines, at most 70 are allowed"]);
  });

  it.each([
    ["an arrow function", "const f = () => {", "};"],
    ["a method", "class A { f() {", "}}"],
    ["a constructor", "class A { constructor() {", "}}"],
    ["a getter", "class A { get f() {", "}}"],
    ["a function expression", "const f = function () {", "};"],
    ["a test", "it('works', () => {", "});"],
  ])("measures %s", (_, open, close) => {
    expect(longFunctions([unit("a.ts", `${open}\n${lines(69)}${close}\n`)])).toHaveLength(1);
    expect(longFunctions([unit("a.ts", `${open}\n${lines(68)}${close}\n`)])).toEqual([]);
  });

  it("lets a list of tests be long, and not a test inside it", () => {
    expect(longFunctions([unit("a.ts", `describe("x", () => {\n${lines(99)}});\n`)])).toEqual([]);
    expect(longFunctions([unit("a.ts", `describe.each([1])("x", () => {\n${lines(99)}});\n`)])).toEqual([]);
    const inside = `describe("x", () => {\nit("y", () => {\n${lines(99)}});\n});\n`;
    expect(longFunctions([unit("a.ts", inside)])).toHaveLength(1);
  });

  it("is not led astray by braces in strings, templates and regular expressions", () => {
    const tricky = `function f() {\n  return \`{\${"}"}{{{\` + /[{]{2}/.source + "{{";\n}\n${"x();\n".repeat(90)}`;
    expect(longFunctions([unit("a.ts", tricky)])).toEqual([]);
  });
});

describe("imports", () => {
  it("finds each kind, and knows which are gone when the program runs", () => {
    const text = [
      'import a from "./a.ts";',
      'import { type B, c } from "../b.ts";',
      'import { type D, type E } from "./d.ts";',
      'import type { F } from "./f.ts";',
      'import "./g.ts";',
      'export * from "./h.ts";',
      'export type { I } from "./i.ts";',
      'type J = import("./j.ts").J;',
      'const k = await import("./k.ts");',
      'import fs from "node:fs";',
      '// import no from "./comment.ts"',
      "const no = 'import no from \"./string.ts\"';",
    ].join("\n");
    const found = importsOf(unit("src/x/y.ts", text)).map(
      ({ to, typeOnly }) => `${typeOnly ? "type " : ""}${to}`,
    );
    expect(found).toEqual([
      ...["src/x/a.ts", "src/b.ts", "type src/x/d.ts", "type src/x/f.ts", "src/x/g.ts", "src/x/h.ts"],
      ...["type src/x/i.ts", "type src/x/j.ts", "src/x/k.ts", "node:fs"],
    ]);
  });

  it("finds a cycle of any length, once, and none among types", () => {
    const ring = [importing("a", "b"), importing("b", "c"), importing("c", "a"), importing("d", "a")];
    expect(cyclesIn(ring)).toEqual([["a", "b", "c", "a"]]);
    expect(cyclesIn([importing("a", "a")])).toEqual([["a", "a"]]);
    expect(cyclesIn([importing("a", "b"), importing("b", "a", true)])).toEqual([]);
    expect(
      cyclesIn([importing("a", "b"), importing("a", "c"), importing("b", "d"), importing("c", "d")]),
    ).toEqual([]);
    expect(circles(ring).map(shown)).toEqual(["a import cycle: a → b → c → a"]);
  });
});

describe("layers", () => {
  it("gives a file to the most particular layer", () => {
    expect(layerOf("src/durable/stub.ts")).toBe("durable/stub");
    expect(layerOf("src/durable/registry/keys.ts")).toBe("durable");
    expect(layerOf("src/keys.ts")).toBe("keys");
    expect(layerOf("src/keyscape.ts")).toBeNull();
  });

  it.each([
    ["src/limits/home.ts", "src/routing/pool.ts"],
    ["src/limits/home.ts", "src/durable/stub.ts"],
    ["src/limits/home.ts", "cloudflare:workers"],
    ["src/routing/pool.ts", "node:crypto"],
    ["src/engine/sse.ts", "src/env.ts"],
    ["src/engine/sse.ts", "node:buffer"],
    ["src/durable/region-pool.ts", "src/relay/infer.ts"],
    ["src/relay/infer.ts", "src/durable/region-pool.ts"],
    ["src/relay/infer.ts", "src/api/health.ts"],
    ["src/relay/infer.ts", "cloudflare:workers"],
    ["src/api/models.ts", "src/durable/registry.ts"],
    ["src/worker.ts", "src/relay/infer.ts"],
    ["src/gate/serve.ts", "src/secrets.ts"],
    ["src/gate/serve.ts", "src/relay/pipe.ts"],
    ["src/bounds.ts", "src/errors.ts"],
    ["src/contract/report.ts", "src/catalogue.ts"],
    ["src/relay/infer.ts", "sim/origin/main.ts"],
    ["src/gate/main.ts", "scripts/build.ts"],
    ["src/relay/infer.ts", "test/support/tenant.ts"],
    ["sim/stack/stack.ts", "test/support/tenant.ts"],
    ["sim/origin/routes.ts", "src/engine/sse.ts"],
    ["src/new-folder/thing.ts", "src/bounds.ts"],
    ["src/relay/infer.ts", "hono"],
    ["src/api/admin/app.ts", "honolulu"],
  ])("refuses that %s imports %s", (from, to) => {
    expect(wrongDirections([importing(from, to)])).toHaveLength(1);
  });

  it.each([
    ["src/limits/home.ts", "src/bounds.ts"],
    ["src/limits/home.ts", "src/limits/window.ts"],
    ["src/durable/region-pool.ts", "cloudflare:workers"],
    ["src/relay/infer.ts", "src/durable/stub.ts"],
    ["src/gate/serve.ts", "node:http"],
    ["src/api/admin/app.ts", "hono/body-limit"],
    ["src/worker.ts", "src/durable/registry.ts"],
    ["test/unit/a.test.ts", "src/limits/home.ts"],
    ["scripts/start.ts", "sim/stack/stack.ts"],
    ["sim/stack/secrets.ts", "src/contract/report.ts"],
  ])("allows that %s imports %s", (from, to) => {
    expect(wrongDirections([importing(from, to)])).toEqual([]);
  });

  it("tells types from values", () => {
    expect(wrongDirections([importing("src/env.ts", "src/durable/registry.ts", true)])).toEqual([]);
    expect(wrongDirections([importing("src/env.ts", "src/durable/registry.ts")])).toHaveLength(1);
    expect(wrongDirections([importing("src/limits/home.ts", "src/engine/endpoint.ts", true)])).toEqual([]);
    expect(wrongDirections([importing("src/limits/home.ts", "src/engine/endpoint.ts")])).toHaveLength(1);
  });
});

describe("purity", () => {
  it.each([
    ...[
      "const a = Date.now();",
      "const a = new Date();",
      "const a = Math.random();",
      "const a = fetch('x');",
    ],
    ...["setTimeout(f, 1);", "const a = crypto.randomUUID();", "globalThis.x = 1;", "const a = process.pid;"],
    "const { now } = performance;",
  ])("refuses %s", (text) => {
    expect(impurities([unit("a.ts", text)]).length).toBeGreaterThan(0);
  });

  it.each([
    ...[
      "const a = window.fetch;",
      "const a = { crypto: 1 };",
      "interface A { Date: number }",
      "Math.max(1, 2);",
    ],
    ...["// Date.now()", "const a = 'fetch';", "class A { fetch() {} }"],
  ])("allows %s", (text) => {
    expect(impurities([unit("a.ts", text)])).toEqual([]);
  });
});

describe("bounds", () => {
  const bounds = unit(
    "src/bounds.ts",
    "export const A_MAX = 1;\nexport const B_MAX = 2;\nconst own = B_MAX;",
  );

  it("finds the one that nothing reads, an import and a comment being no reading", () => {
    const reader = unit("src/a.ts", 'import { A_MAX, B_MAX } from "./bounds.ts";\n// B_MAX\nf(A_MAX);');
    expect(unusedBounds(bounds, [reader]).map(shown)).toEqual([
      "src/bounds.ts:2 unused bound: B_MAX bounds nothing",
    ]);
  });
});

describe("words", () => {
  const text = (words: string) => bannedText([{ path: "a.md", text: words }]);

  it.each([
    ...[`// ${"TO"}${"DO"}: later`, `${"FIX"}ME`, `x ${"XX"}X y`],
    ...[
      `/${"work"}/main`,
      `see /${"root"}/x`,
      `"/${"home"}/me/x"`,
      `C:${"\\"}Users${"\\"}me`,
      `(/${"tmp"}/x)`,
    ],
  ])("refuses %s", (words) => {
    expect(text(words)).toHaveLength(1);
  });

  it.each(["a todo list", "mastodon", "https://example.net/work/x", "docs/home/index.md", "../tmp/x"])(
    "allows %s",
    (words) => {
      expect(text(words)).toEqual([]);
    },
  );

  it("refuses 'any' as a type and console.log outside its places", () => {
    expect(bannedSyntax([unit("src/a.ts", "let a: any;")])).toHaveLength(1);
    expect(bannedSyntax([unit("src/a.ts", "const a = b as any[];")])).toHaveLength(1);
    expect(bannedSyntax([unit("src/a.ts", "// any\nconst any = 'any'; f({ any });")])).toEqual([]);
    for (const path of ["src/relay/a.ts", "src/domain.ts", "sim/origin/routes.ts", "test/unit/a.test.ts"]) {
      expect(bannedSyntax([unit(path, "console.log(1);")])).toHaveLength(1);
    }
    for (const path of ["src/telemetry/a.ts", "scripts/a.ts", "src/gate/main.ts", "bench/limits.ts"]) {
      expect(bannedSyntax([unit(path, "console.log(1);")])).toEqual([]);
    }
    expect(bannedSyntax([unit("src/a.ts", "console.error(1);")])).toEqual([]);
  });
});
