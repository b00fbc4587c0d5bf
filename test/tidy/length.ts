import type { Node } from "typescript/unstable/ast";
import {
  isArrowFunction,
  isCallExpression,
  isConstructorDeclaration,
  isFunctionDeclaration,
  isFunctionExpression,
  isGetAccessorDeclaration,
  isIdentifier,
  isMethodDeclaration,
  isPropertyAccessExpression,
  isSetAccessorDeclaration,
  isVariableDeclaration,
} from "typescript/unstable/ast/is";
import { lineAt, type TextFile, type Unit, type Violation, visitAll } from "./source.ts";

export const FILE_LINES_MAX = 300;
export const FUNCTION_LINES_MAX = 70;

export function longFiles(files: readonly TextFile[]): Violation[] {
  return files.flatMap(({ path, text }) => {
    const lines = text.split("\n").length - (text.endsWith("\n") ? 1 : 0);
    if (lines <= FILE_LINES_MAX) return [];
    return [
      {
        rule: "file length",
        path,
        line: null,
        detail: `${lines} lines, at most ${FILE_LINES_MAX} are allowed`,
      },
    ];
  });
}

/** From a function's first word to its closing brace. What `describe` takes is a list of tests, not a function. */
export function longFunctions(units: readonly Unit[]): Violation[] {
  return units.flatMap((unit) => {
    const found: Violation[] = [];
    visitAll(unit, (node) => {
      if (!isFunction(node) || isDescribed(node)) return;
      const line = lineAt(unit.text, node.getStart(unit.tree));
      const lines = lineAt(unit.text, node.end) - line + 1;
      if (lines <= FUNCTION_LINES_MAX) return;
      const detail = `${nameOf(node)} has ${lines} lines, at most ${FUNCTION_LINES_MAX} are allowed`;
      found.push({ rule: "function length", path: unit.path, line, detail });
    });
    return found;
  });
}

function isFunction(node: Node): boolean {
  return (
    isFunctionDeclaration(node) ||
    isFunctionExpression(node) ||
    isArrowFunction(node) ||
    isMethodDeclaration(node) ||
    isConstructorDeclaration(node) ||
    isGetAccessorDeclaration(node) ||
    isSetAccessorDeclaration(node)
  );
}

/** True for the callback of `describe(…)`, `describe.each(…)(…)` and the like. */
function isDescribed({ parent }: Node): boolean {
  if (!isCallExpression(parent)) return false;
  let callee: Node = parent.expression;
  while (isCallExpression(callee) || isPropertyAccessExpression(callee)) callee = callee.expression;
  return isIdentifier(callee) && callee.text === "describe";
}

function nameOf(node: Node): string {
  const own = (node as { readonly name?: Node }).name;
  if (own !== undefined) return own.getText();
  return isVariableDeclaration(node.parent) ? node.parent.name.getText() : "a function without a name";
}
