import { type Node, SyntaxKind } from "typescript/unstable/ast";
import {
  isIdentifier,
  isInterfaceDeclaration,
  isPropertySignatureDeclaration,
  isTypeReferenceNode,
} from "typescript/unstable/ast/is";
import type { Unit, Violation } from "./source.ts";

/** One account of how the Worker is put together. There are three, and they have to say the same. */
export interface Wiring {
  readonly where: string;
  /** Binding → Durable Object class. */
  readonly objects: Readonly<Record<string, string>>;
  /** Names of plain texts: secrets and vars. */
  readonly texts: readonly string[];
  readonly compatibility: string;
}

/** The Env type's account; it knows nothing of compatibility. What it calls optional need not be declared. */
export function wiringOfEnv(unit: Unit): Omit<Wiring, "compatibility"> {
  const objects: Record<string, string> = {};
  const texts: string[] = [];
  const env = unit.tree.statements.find((node) => isInterfaceDeclaration(node) && node.name.text === "Env");
  if (env === undefined || !isInterfaceDeclaration(env)) throw new Error(`${unit.path}: no interface Env`);
  for (const member of env.members) {
    if (!isPropertySignatureDeclaration(member) || !isIdentifier(member.name)) continue;
    if (member.postfixToken?.kind === SyntaxKind.QuestionToken) continue;
    const type: Node = member.type;
    const isObject =
      isTypeReferenceNode(type) && type.typeName.getText(unit.tree) === "DurableObjectNamespace";
    if (isObject) objects[member.name.text] = type.typeArguments?.[0]?.getText(unit.tree) ?? "";
    else texts.push(member.name.text);
  }
  return { where: unit.path, objects, texts };
}

/** The account of a config for plain workerd (sim/stack/edge.ts). */
export function wiringOfWorkerd(where: string, config: string): Wiring {
  const pairs = [...config.matchAll(/name = "(\w+)", durableObjectNamespace = "(\w+)"/g)];
  const texts = [...config.matchAll(/name = "(\w+)", (?:fromEnvironment|text) = /g)];
  const date = /compatibilityDate = "([^"]+)"/.exec(config)?.[1] ?? "";
  const flags = /compatibilityFlags = \[([^\]]*)\]/.exec(config)?.[1] ?? "";
  return {
    where,
    objects: Object.fromEntries(pairs.map(([, name, type]) => [name!, type!])),
    texts: texts.map(([, name]) => name!),
    compatibility: compatibility(
      date,
      [...flags.matchAll(/"([^"]+)"/g)].map(([, flag]) => flag!),
    ),
  };
}

export function compatibility(date: string, flags: readonly string[]): string {
  return [date, ...[...flags].sort()].join(" ");
}

/** Compares each account with the first. */
export function disagreements(first: Wiring, others: readonly Wiring[]): Violation[] {
  return others.flatMap((other) => {
    const found = [
      ...differences("Durable Object", entriesOf(first.objects), entriesOf(other.objects), first, other),
      ...differences("secret or var", first.texts, other.texts, first, other),
      ...differences("compatibility", [first.compatibility], [other.compatibility], first, other),
    ];
    return found.map((detail) => ({ rule: "wiring", path: other.where, line: null, detail }));
  });
}

function differences(
  what: string,
  mine: readonly string[],
  theirs: readonly string[],
  first: Wiring,
  other: Wiring,
): string[] {
  return [
    ...mine.filter((one) => !theirs.includes(one)).map((one) => `${what} ${one} is only in ${first.where}`),
    ...theirs.filter((one) => !mine.includes(one)).map((one) => `${what} ${one} is only in ${other.where}`),
  ];
}

function entriesOf(objects: Readonly<Record<string, string>>): string[] {
  return Object.entries(objects).map(([name, type]) => `${name} (${type})`);
}
