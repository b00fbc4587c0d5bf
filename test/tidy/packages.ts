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

interface Lock {
  readonly packages: Readonly<
    Record<string, Partial<Record<(typeof KINDS)[number], Record<string, string>>>>
  >;
}

/**
 * `npm ci` refuses a lock file that lacks a package, one for another platform included. A registry that does not carry
 * those makes `npm install` write such a file without a word.
 */
export function missingFromLock({ path, text }: TextFile): Violation[] {
  const { packages } = JSON.parse(text) as Lock;
  return Object.entries(packages).flatMap(([place, entry]) => {
    const wanted = KINDS.flatMap((kind) => Object.entries(entry[kind] ?? {}));
    return wanted
      .filter(([name]) => !isLocked(packages, place, name))
      .map(([name, version]) => {
        const detail = `${name} ${version} is missing; ${place || "package.json"} names it`;
        return { rule: "lock file", path, line: null, detail };
      });
  });
}

/** As Node looks packages up: beside the one that asks, then in each folder above it. */
function isLocked(packages: Lock["packages"], place: string, name: string): boolean {
  const folders = place.split("/node_modules/");
  for (let depth = folders.length; depth > 0; depth--) {
    const folder = folders.slice(0, depth).join("/node_modules/");
    if (`${folder === "" ? "" : `${folder}/`}node_modules/${name}` in packages) return true;
  }
  return `node_modules/${name}` in packages;
}
