import type { Node } from "typescript/unstable/ast";
import {
  isIdentifier,
  isMethodDeclaration,
  isMethodSignatureDeclaration,
  isPropertyAccessExpression,
  isPropertyAssignment,
  isPropertyDeclaration,
  isPropertySignatureDeclaration,
  isQualifiedName,
} from "typescript/unstable/ast/is";
import { lineAt, type Unit, type Violation, visitAll } from "./source.ts";

/** Clock, chance and the world: a pure function is given what it needs of them. */
const IMPURE = new Set([
  ...["Date", "performance", "setTimeout", "setInterval", "setImmediate", "queueMicrotask", "scheduler"],
  ...["crypto", "fetch", "WebSocket", "caches", "navigator"],
  ...["process", "globalThis", "console", "env", "Function", "eval"],
]);

/** State in, message in, `nowMs` in; new state and effects out. */
export function impurities(units: readonly Unit[]): Violation[] {
  return units.flatMap((unit) => {
    const found: Violation[] = [];
    visitAll(unit, (node) => {
      const what = impurityOf(node);
      if (what === null) return;
      const line = lineAt(unit.text, node.getStart(unit.tree));
      found.push({ rule: "purity", path: unit.path, line, detail: `${what}: take it as an argument` });
    });
    return found;
  });
}

function impurityOf(node: Node): string | null {
  if (isPropertyAccessExpression(node) && isIdentifier(node.expression)) {
    if (node.expression.text === "Math" && node.name.text === "random") return "Math.random";
  }
  if (!isIdentifier(node) || !IMPURE.has(node.text) || isMemberName(node)) return null;
  return node.text;
}

/** `x.fetch` and `{ fetch: … }` are names inside something, not the global. */
function isMemberName(node: Node): boolean {
  const { parent } = node;
  if (isPropertyAccessExpression(parent)) return parent.name === node;
  if (isQualifiedName(parent)) return parent.right === node;
  return (
    (isPropertyAssignment(parent) ||
      isPropertyDeclaration(parent) ||
      isPropertySignatureDeclaration(parent) ||
      isMethodDeclaration(parent) ||
      isMethodSignatureDeclaration(parent)) &&
    parent.name === node
  );
}
