import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { modelInputSchema, poolInputSchema, tenantInputSchema } from "../../src/catalogue.ts";
import type { AdminCalls } from "./admin.ts";
import { DeployError } from "./wrangler.ts";

const COLLECTIONS = ["models", "pools", "tenants"] as const;
type Collection = (typeof COLLECTIONS)[number];
export type Resource = { readonly id: string } & Readonly<Record<string, unknown>>;

/** What `--config` holds: the fields that are written there, so that a change names no others. */
export type DeployConfig = Readonly<Record<Collection, readonly Resource[]>>;

const unlessTwice = <T extends { id: string }>(list: readonly T[]) =>
  new Set(list.map(({ id }) => id)).size === list.length;
const schema = z.strictObject({
  models: z.array(modelInputSchema).refine(unlessTwice, "the same id twice").default([]),
  pools: z.array(poolInputSchema).refine(unlessTwice, "the same id twice").default([]),
  tenants: z.array(tenantInputSchema).refine(unlessTwice, "the same id twice").default([]),
});

/** Reads and checks a deploy file. Throws one line that names the field. */
export function readDeployConfig(file: string): DeployConfig {
  let written: unknown;
  try {
    written = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    const why = error instanceof SyntaxError ? error.message : (error as NodeJS.ErrnoException).code;
    throw new DeployError(`${file}: cannot be read as JSON: ${why}`);
  }
  const checked = schema.safeParse(written);
  if (!checked.success) {
    const issue = checked.error.issues[0]!;
    throw new DeployError(`${file}: ${issue.path.join(".") || "top level"}: ${issue.message}`);
  }
  const lists = written as Partial<DeployConfig>;
  const named = (collection: Collection) =>
    checked.data[collection].map((resource, at) => onlyWritten(resource, lists[collection]![at]!));
  return { models: named("models"), pools: named("pools"), tenants: named("tenants") };
}

/** With the defaults inside a field that is written, and without those of fields that are not. */
function onlyWritten(resource: Resource, written: Resource): Resource {
  const fields = Object.keys(written).map((name) => [name, resource[name]]);
  return Object.fromEntries(fields) as Resource;
}

export interface Registered {
  readonly collection: Collection;
  readonly id: string;
  readonly what: "created" | "changed" | "unchanged";
  /** Of a pool that was created: what its gates are given. Shown once. */
  readonly gateSecret: { readonly version: number; readonly secret: string } | null;
}

/**
 * Brings models, then pools, then tenants into the state of the file. What the file does not name stays as it is:
 * this deletes nothing. Throws at the first refusal; running it again goes on from there.
 */
export async function register(
  admin: AdminCalls,
  config: DeployConfig,
  told: (one: Registered) => void | Promise<void>,
): Promise<void> {
  for (const collection of COLLECTIONS) {
    for (const wanted of config[collection]) await told(await ensure(admin, collection, wanted));
  }
}

async function ensure(admin: AdminCalls, collection: Collection, wanted: Resource): Promise<Registered> {
  const { id } = wanted;
  const path = `${collection}/${encodeURIComponent(id)}`;
  const known = await admin.call("GET", path);
  if (known.status === 404) {
    const made = answered(201, await admin.call("POST", collection, wanted), `${collection} ${id}`);
    return { collection, id, what: "created", gateSecret: gateSecretIn(made) };
  }
  const before = answered(200, known, `${collection} ${id}`);
  const change = changeOf(wanted, before);
  if (Object.keys(change).length === 0) return { collection, id, what: "unchanged", gateSecret: null };
  if ("homeHint" in change) {
    throw new DeployError(`tenants ${id}: homeHint is '${String(before.homeHint)}' and cannot be changed`);
  }
  const patched = await admin.call("PATCH", path, change, known.version ?? undefined);
  answered(200, patched, `${collection} ${id}`);
  return { collection, id, what: "changed", gateSecret: null };
}

/** The fields that are not already as wanted; so a second run changes nothing and fills no audit log. */
function changeOf(wanted: Resource, before: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(wanted).filter(
      ([name, value]) => name !== "id" && !isDeepStrictEqual(value, before[name]),
    ),
  );
}

function answered(
  status: number,
  answer: { readonly status: number; readonly body: unknown },
  what: string,
): Record<string, unknown> {
  if (answer.status === status) return answer.body as Record<string, unknown>;
  const { error } = (answer.body ?? {}) as { error?: { message?: string; param?: string | null } };
  const field = error?.param ? ` (${error.param})` : "";
  throw new DeployError(`${what}: the admin API answered ${answer.status}: ${error?.message ?? "?"}${field}`);
}

function gateSecretIn(made: Record<string, unknown>): Registered["gateSecret"] {
  if (typeof made.gateSecret !== "string") return null;
  return { version: Number(made.secretVersion), secret: made.gateSecret };
}
