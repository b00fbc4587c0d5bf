import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { SECRET_NAMES } from "./secrets.ts";
import type { Migration, Settings } from "./settings.ts";
import { mustSucceed, type Wrangler } from "./wrangler.ts";

/**
 * Largest Worker, from Cloudflare's "Workers platform limits": 3 MB compressed on the free plan (10 MB on the paid
 * one), 64 MB before compression. The smaller one, so that every account can run this.
 */
const BUNDLE_GZIP_MAX_BYTES = 3_000_000;
const BUNDLE_MAX_BYTES = 64_000_000;

/** What wrangler would upload. */
export interface Bundle {
  readonly bytes: number;
  readonly gzipBytes: number;
  readonly exports: readonly string[];
}

/** Lets wrangler build what it would upload, without a login and without a network. */
export async function dryRunBundle(wrangler: Wrangler): Promise<Bundle> {
  const folder = mkdtempSync(join(tmpdir(), "meridian-bundle-"));
  try {
    const args = ["deploy", "--dry-run", "--outdir", folder, "--metafile"];
    mustSucceed(await wrangler(args), "deploy --dry-run");
    const meta = JSON.parse(readFileSync(join(folder, "bundle-meta.json"), "utf8")) as Metafile;
    const entry = Object.entries(meta.outputs).find(([, output]) => output.entryPoint !== undefined);
    if (!entry) throw new Error("wrangler's bundle has no entry point");
    const code = readFileSync(join(folder, entry[0].split("/").at(-1)!));
    return { bytes: code.length, gzipBytes: gzipSync(code).length, exports: entry[1].exports };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

interface Metafile {
  readonly outputs: Readonly<Record<string, { readonly entryPoint?: string; readonly exports: string[] }>>;
}

/** What would fail on Cloudflare, or worse, would not; one line each. */
export function mistakesIn(settings: Settings, bundle: Bundle): string[] {
  return [
    ...objectMistakes(settings, bundle),
    ...migrationMistakes(settings.migrations),
    ...secretMistakes(settings),
    ...(bundle.exports.includes("default")
      ? []
      : ["the Worker has no default export: nothing answers requests"]),
    ...(settings.vars.MERIDIAN_MODE === "production"
      ? []
      : ['vars: MERIDIAN_MODE must be "production": else clients may say where they are']),
    ...overweight("compressed", bundle.gzipBytes, BUNDLE_GZIP_MAX_BYTES),
    ...overweight("uncompressed", bundle.bytes, BUNDLE_MAX_BYTES),
  ];
}

function objectMistakes(settings: Settings, bundle: Bundle): string[] {
  const bound = Object.entries(settings.objects);
  const classes = classesAfter(settings.migrations);
  return [
    ...bound.flatMap(([name, type]) => [
      ...(bundle.exports.includes(type) ? [] : [`${name}: the Worker does not export the class ${type}`]),
      ...(classes.has(type) ? [] : [`${name}: no migration creates the class ${type}`]),
      ...(classes.get(type) === "kv" ? [`${name}: ${type} needs SQL storage (new_sqlite_classes)`] : []),
    ]),
    ...[...classes.keys()]
      .filter((type) => !bound.some(([, other]) => other === type))
      .map((type) => `the class ${type} is created by a migration and bound nowhere`),
  ];
}

/** Classes that exist once every migration ran, with the kind of their storage. */
export function classesAfter(migrations: readonly Migration[]): Map<string, "sql" | "kv"> {
  const classes = new Map<string, "sql" | "kv">();
  for (const migration of migrations) {
    for (const type of migration.new_classes ?? []) classes.set(type, "kv");
    for (const type of migration.new_sqlite_classes ?? []) classes.set(type, "sql");
    for (const { from, to } of migration.renamed_classes ?? []) {
      const kind = classes.get(from);
      if (kind) classes.set(to, kind);
      classes.delete(from);
    }
    for (const type of migration.deleted_classes ?? []) classes.delete(type);
  }
  return classes;
}

function migrationMistakes(migrations: readonly Migration[]): string[] {
  const tags = migrations.map(({ tag }) => tag);
  const twice = tags.filter((tag, at) => tags.indexOf(tag) !== at);
  return twice.map((tag) => `migrations: the tag ${tag} is there twice; the second would never run`);
}

function secretMistakes({ requiredSecrets, vars }: Settings): string[] {
  const names: readonly string[] = SECRET_NAMES;
  return [
    ...names
      .filter((name) => !requiredSecrets.includes(name))
      .map((name) => `secrets: ${name} is not declared as required`),
    ...requiredSecrets
      .filter((name) => !names.includes(name))
      .map((name) => `secrets: ${name} is required and nothing here knows how to make it`),
    ...names
      .filter((name) => name in vars)
      .map((name) => `vars: ${name} is a secret and stands there in the open`),
  ];
}

function overweight(what: string, bytes: number, maxBytes: number): string[] {
  if (bytes <= maxBytes) return [];
  return [`the bundle has ${bytes} bytes ${what}, more than Cloudflare's ${maxBytes}`];
}
