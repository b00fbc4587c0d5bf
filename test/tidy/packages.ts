import type { TextFile, Violation } from "./source.ts";

const EXACT = /^\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?$/;
const KINDS = ["dependencies", "devDependencies", "optionalDependencies"] as const;

/** A range in package.json would let a machine that installs tomorrow run other code than today's. */
export function looseVersions({ path, text }: TextFile): Violation[] {
  const manifest = JSON.parse(text) as Partial<Record<(typeof KINDS)[number], Record<string, string>>>;
  return KINDS.flatMap((kind) => Object.entries(manifest[kind] ?? {}))
    .filter(([, version]) => !EXACT.test(version))
    .map(([name, version]) => {
      return { rule: "exact version", path, line: null, detail: `${name} is "${version}"` };
    });
}
