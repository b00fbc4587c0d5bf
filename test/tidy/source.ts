import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Node, SourceFile } from "typescript/unstable/ast";
import { API } from "typescript/unstable/sync";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** A file of the repository, by its path from the root. */
export interface TextFile {
  readonly path: string;
  readonly text: string;
}

/** A TypeScript file with its syntax tree. */
export interface Unit extends TextFile {
  readonly tree: SourceFile;
}

/** What a checker found. `line` counts from 1; null: the file as a whole. */
export interface Violation {
  readonly rule: string;
  readonly path: string;
  readonly line: number | null;
  readonly detail: string;
}

/** Bulk data and what programs made: nobody reads it as code. */
const NOT_SOURCE = new Set(["node_modules", "fixtures", "dist", "coverage"]);

/** Every file under the given folders or with the given names whose name ends as asked. */
export function filesOf(places: readonly string[], endings: readonly string[]): TextFile[] {
  return places.flatMap((place) => {
    const entries = readdirSync(ROOT, { withFileTypes: true });
    const entry = entries.find(({ name }) => name === place);
    if (entry === undefined) return [];
    return entry.isDirectory() ? walk(place, endings) : [{ path: place, text: read(place) }];
  });
}

function walk(folder: string, endings: readonly string[]): TextFile[] {
  const entries = readdirSync(join(ROOT, folder), { withFileTypes: true });
  return entries
    .sort((a, b) => a.name.localeCompare(b.name))
    .flatMap((entry) => {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) return NOT_SOURCE.has(entry.name) ? [] : walk(path, endings);
      return endings.some((ending) => entry.name.endsWith(ending)) ? [{ path, text: read(path) }] : [];
    });
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/**
 * Parses with the compiler's own parser, so that no string, template or regular expression is mistaken for code.
 * Version 7 offers its trees only under `unstable`; the version is pinned, and this is the one place that asks.
 */
export function parse(files: readonly TextFile[]): Unit[] {
  projects += 1;
  const folder = `/tidy/${projects}`;
  const options = { noLib: true, noResolve: true, types: [] };
  const paths = files.map(({ path }) => path);
  virtual[`${folder}/tsconfig.json`] = JSON.stringify({ compilerOptions: options, files: paths });
  for (const { path, text } of files) virtual[`${folder}/${path}`] = text;
  compiler ??= new API({ cwd: "/tidy", fs: { readFile, fileExists: (path) => path in virtual } });
  const config = `${folder}/tsconfig.json`;
  const project = compiler.updateSnapshot({ openProjects: [config] }).getProject(config);
  return files.map((file) => {
    const tree = project?.program.getSourceFile(`${folder}/${file.path}`);
    if (!tree) throw new Error(`${file.path}: the compiler did not parse it`);
    return { ...file, tree };
  });
}

/** One compiler for all: it is a process of its own, and ends with this one. */
let compiler: API | null = null;
let projects = 0;
const virtual: Record<string, string> = {};
const readFile = (path: string) => virtual[path] ?? null;

/** Calls `visit` for every node of the tree, parents before children. */
export function visitAll(unit: Unit, visit: (node: Node) => void): void {
  const step = (node: Node) => {
    visit(node);
    node.forEachChild(step);
  };
  step(unit.tree);
}

export function lineAt(text: string, position: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at >= 0 && at < position; at = text.indexOf("\n", at + 1)) line += 1;
  return line;
}

/** One line for a person: where and what. */
export function shown({ rule, path, line, detail }: Violation): string {
  return `${path}${line === null ? "" : `:${line}`} ${rule}: ${detail}`;
}
