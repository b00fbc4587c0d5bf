import type { Node } from "typescript/unstable/ast";
import { SyntaxKind } from "typescript/unstable/ast";
import { isIdentifier, isImportSpecifier, isVariableStatement } from "typescript/unstable/ast/is";
import { lineAt, type Unit, type Violation, visitAll } from "./source.ts";

/** A bound that nothing reads is a promise that nobody keeps. Its own file, checks included, does not count. */
export function unusedBounds(bounds: Unit, others: readonly Unit[]): Violation[] {
  const used = new Set<string>();
  for (const unit of others) {
    visitAll(unit, (node) => {
      if (isIdentifier(node) && !isImportSpecifier(node.parent)) used.add(node.text);
    });
  }
  return exportedConstants(bounds)
    .filter(({ name }) => !used.has(name))
    .map(({ name, line }) => {
      return { rule: "unused bound", path: bounds.path, line, detail: `${name} bounds nothing` };
    });
}

function exportedConstants(unit: Unit): { name: string; line: number }[] {
  const isExport = (modifier: Node) => modifier.kind === SyntaxKind.ExportKeyword;
  return unit.tree.statements.flatMap((statement) => {
    if (!isVariableStatement(statement) || !statement.modifiers?.some(isExport)) return [];
    return statement.declarationList.declarations.map((declaration) => ({
      name: declaration.name.getText(unit.tree),
      line: lineAt(unit.text, declaration.getStart(unit.tree)),
    }));
  });
}
