import type { Node } from "typescript/unstable/ast";
import { SyntaxKind } from "typescript/unstable/ast";
import {
  isCallExpression,
  isExportDeclaration,
  isImportDeclaration,
  isImportTypeNode,
  isLiteralTypeNode,
  isNamedImports,
  isStringLiteral,
} from "typescript/unstable/ast/is";
import { lineAt, type Unit, visitAll } from "./source.ts";

/** One import of a file: of another file by its path from the root, or of a package by its name. */
export interface Import {
  readonly from: string;
  readonly to: string;
  readonly line: number;
  /** Gone when the program runs. */
  readonly typeOnly: boolean;
}

/** Static and dynamic imports, re-exports and `import("…")` types. */
export function importsOf(unit: Unit): Import[] {
  const found: Import[] = [];
  visitAll(unit, (node) => {
    const target = targetOf(node);
    if (target === null) return;
    const to = target.specifier.startsWith(".") ? resolve(unit.path, target.specifier) : target.specifier;
    const line = lineAt(unit.text, node.getStart(unit.tree));
    found.push({ from: unit.path, to, line, typeOnly: target.typeOnly });
  });
  return found;
}

function targetOf(node: Node): { specifier: string; typeOnly: boolean } | null {
  if (isImportDeclaration(node) && isStringLiteral(node.moduleSpecifier)) {
    return { specifier: node.moduleSpecifier.text, typeOnly: importsTypes(node.importClause) };
  }
  if (isExportDeclaration(node) && node.moduleSpecifier && isStringLiteral(node.moduleSpecifier)) {
    return { specifier: node.moduleSpecifier.text, typeOnly: node.isTypeOnly };
  }
  if (isImportTypeNode(node) && isLiteralTypeNode(node.argument) && isStringLiteral(node.argument.literal)) {
    return { specifier: node.argument.literal.text, typeOnly: true };
  }
  if (isCallExpression(node) && node.expression.kind === SyntaxKind.ImportKeyword) {
    const [argument] = node.arguments;
    return argument && isStringLiteral(argument) ? { specifier: argument.text, typeOnly: false } : null;
  }
  return null;
}

type Clause = import("typescript/unstable/ast").ImportClause;

/** `import type …`, and `import { type A, type B }`, of which nothing is left when the program runs either. */
function importsTypes(clause: Clause | undefined): boolean {
  if (clause === undefined) return false;
  if (clause.phaseModifier === SyntaxKind.TypeKeyword) return true;
  const bindings = clause.namedBindings;
  if (clause.name !== undefined || bindings === undefined || !isNamedImports(bindings)) return false;
  return bindings.elements.length > 0 && bindings.elements.every((element) => element.isTypeOnly);
}

function resolve(from: string, specifier: string): string {
  const parts = from.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}

/** Circles of imports that are there when the program runs, each once, as the files along it. */
export function cyclesIn(imports: readonly Import[]): string[][] {
  const next = new Map<string, string[]>();
  for (const { from, to, typeOnly } of imports) {
    if (!typeOnly) next.set(from, [...(next.get(from) ?? []), to]);
  }
  const cycles: string[][] = [];
  const finished = new Set<string>();
  const path: string[] = [];
  const visit = (file: string) => {
    const at = path.indexOf(file);
    if (at >= 0) {
      cycles.push([...path.slice(at), file]);
      return;
    }
    if (finished.has(file)) return;
    path.push(file);
    for (const to of next.get(file) ?? []) visit(to);
    path.pop();
    finished.add(file);
  };
  for (const file of next.keys()) visit(file);
  return cycles;
}
