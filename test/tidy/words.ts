import { type Node, SyntaxKind } from "typescript/unstable/ast";
import { isIdentifier, isPropertyAccessExpression } from "typescript/unstable/ast/is";
import { lineAt, type TextFile, type Unit, type Violation, visitAll } from "./source.ts";

/** Put together, since this file is searched too. */
const UNFINISHED = new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME", "XX" + "X"].join("|")})\\b`, "g");
const MACHINE_PATH = new RegExp(
  `(?<![\\w.:/-])(/(?:${["work", "root", "home", "Users", "tmp"].join("|")})/|[A-Z]:\\\\Users\\\\)`,
  "g",
);

/** Notes to oneself, and paths that exist on one machine only: in code, comments, texts and configuration alike. */
export function bannedText(files: readonly TextFile[]): Violation[] {
  return files.flatMap(({ path, text }) => [
    ...matches(text, UNFINISHED).map(({ line, match }) => {
      return { rule: "unfinished", path, line, detail: `${match}: do it, or open an issue` };
    }),
    ...matches(text, MACHINE_PATH).map(({ line, match }) => {
      return { rule: "machine path", path, line, detail: `${match}… is a path of one machine` };
    }),
  ]);
}

function matches(text: string, pattern: RegExp): { line: number; match: string }[] {
  return [...text.matchAll(pattern)].map((found) => ({ line: lineAt(text, found.index), match: found[0] }));
}

/** Where output for people or one structured line per fact belongs. */
const MAY_LOG = /^(src\/telemetry|scripts|bench)\/|\/main\.ts$/;

/** `any` anywhere, and `console.log` outside the places that are there to print. */
export function bannedSyntax(units: readonly Unit[]): Violation[] {
  return units.flatMap((unit) => {
    const found: Violation[] = [];
    visitAll(unit, (node) => {
      const bad =
        node.kind === SyntaxKind.AnyKeyword
          ? ANY
          : isConsoleLog(node) && !MAY_LOG.test(unit.path)
            ? LOG
            : null;
      if (bad === null) return;
      found.push({ ...bad, path: unit.path, line: lineAt(unit.text, node.getStart(unit.tree)) });
    });
    return found;
  });
}

const ANY = { rule: "any", detail: "say what it is, or 'unknown' and check it" };
const LOG = { rule: "console.log", detail: "only src/telemetry, scripts, bench and a main.ts print" };

function isConsoleLog(node: Node): boolean {
  return (
    isPropertyAccessExpression(node) &&
    isIdentifier(node.expression) &&
    node.expression.text === "console" &&
    node.name.text === "log"
  );
}
