import { POOLS_MAX } from "../../bounds.ts";
import type {
  Catalogue,
  Model,
  ModelInput,
  ModelPatch,
  Pool,
  PoolInput,
  PoolPatch,
} from "../../catalogue.ts";
import type { Failure } from "../../errors.ts";
import type { Audit } from "./audit.ts";
import { MODELS_MAX } from "./bounds.ts";
import type { Controls } from "./controls.ts";
import { Documents, lastNumber, nextNumber, patched, sameDocument } from "./documents.ts";
import { type By, type Done, missing, ok, type Result, refused } from "./messages.ts";
import { wrongModels } from "./model-rules.ts";

/**
 * Models and pools: the catalogue, versioned as a whole. A changed model or pool gets the new version of the
 * catalogue as its own, so no version of it ever means two things, also when it is deleted and created again.
 */
export class Fleet {
  readonly models: Documents<Model>;
  readonly pools: Documents<Pool>;
  readonly #sql: SqlStorage;
  readonly #audit: Audit;
  readonly #controls: Controls;

  constructor(sql: SqlStorage, audit: Audit, controls: Controls) {
    this.models = new Documents(sql, "models");
    this.pools = new Documents(sql, "pools");
    this.#sql = sql;
    this.#audit = audit;
    this.#controls = controls;
  }

  /** Null when the caller's is the newest. A caller that is ahead (the registry was restored) gets it again. */
  catalogue(knownVersion: number): Catalogue | null {
    const version = lastNumber(this.#sql, "catalogue");
    if (version === knownVersion) return null;
    const controls = this.#controls.inForce();
    return { version, models: this.models.all(), pools: this.pools.all(), controls };
  }

  createModel(by: By, nowMs: number, input: ModelInput): Result<Done<Model>> {
    if (this.models.get(input.id)) return refused({ tag: "already_exists", what: `model '${input.id}'` });
    if (this.models.count() >= MODELS_MAX) return full("models", MODELS_MAX);
    const wrong = wrongModels([...this.models.all(), { ...input, version: 0, createdAtMs: nowMs }]);
    if (wrong !== null) return refused(wrong);
    const since = input.revision === undefined ? {} : { revisedAtMs: nowMs };
    const model: Model = { ...input, ...since, version: this.#nextVersion(), createdAtMs: nowMs };
    this.#insert("models", model);
    this.#audit.add(by, nowMs, "model.create", `models/${model.id}`, null, model);
    return done(model);
  }

  updateModel(by: By, nowMs: number, id: string, version: number, patch: ModelPatch): Result<Done<Model>> {
    const found = at(this.models, "model", id, version);
    if (!found.ok) return found;
    const before = found.value;
    // Whoever says anew what a revision gets has looked at why it was held.
    const { held, ...opened } = before;
    const changed = patched(patch.revision === undefined ? before : opened, patch);
    if (sameDocument(changed, before)) return done(before);
    const wrong = wrongModels([...this.models.all().filter((model) => model.id !== id), changed]);
    if (wrong !== null) return refused(wrong);
    const since = patch.revision ? { revisedAtMs: nowMs } : {};
    return this.replaceModel(by, nowMs, "model.update", before, { ...changed, ...since });
  }

  replaceModel(by: By, nowMs: number, action: string, before: Model, changed: Model): Result<Done<Model>> {
    const after = { ...changed, version: this.#nextVersion() };
    this.models.replace(after);
    this.#audit.add(by, nowMs, action, `models/${after.id}`, before, after);
    return done(after);
  }

  removeModel(by: By, nowMs: number, id: string, version: number | null): Result<Done<null>> {
    const found = at(this.models, "model", id, version);
    if (!found.ok) return found;
    const pool = this.pools.all().find((each) => each.models.some((entry) => entry.model === id));
    if (pool) return refused({ tag: "conflict", detail: `The pool '${pool.id}' serves this model.` });
    const wrong = wrongModels(this.models.all().filter((model) => model.id !== id));
    if (wrong !== null) return refused({ tag: "conflict", detail: `Another model refers to '${id}'.` });
    this.#controls.forget(id);
    this.models.remove(id);
    this.#nextVersion();
    this.#audit.add(by, nowMs, "model.delete", `models/${id}`, found.value, null);
    return done(null);
  }

  recordOverride(
    by: By,
    nowMs: number,
    target: string,
    before: object | null,
    after: object,
  ): Result<Done<null>> {
    this.#audit.add(by, nowMs, "breaker.override", `breakers/${target}`, before, after);
    return done(null);
  }

  createPool(by: By, nowMs: number, input: PoolInput): Result<Done<Pool>> {
    if (this.pools.get(input.id)) return refused({ tag: "already_exists", what: `pool '${input.id}'` });
    if (this.pools.count() >= POOLS_MAX) return full("pools", POOLS_MAX);
    const unknown = this.#unknownModel(input.models);
    if (unknown) return refused(unknown);
    const secretVersion = this.#freshSecretVersion(input.id);
    const pool: Pool = { ...input, secretVersion, version: this.#nextVersion(), createdAtMs: nowMs };
    this.#insert("pools", pool);
    this.#audit.add(by, nowMs, "pool.create", `pools/${pool.id}`, null, pool);
    return done(pool);
  }

  updatePool(by: By, nowMs: number, id: string, version: number, patch: PoolPatch): Result<Done<Pool>> {
    const found = at(this.pools, "pool", id, version);
    if (!found.ok) return found;
    const unknown = this.#unknownModel(patch.models ?? []);
    if (unknown) return refused(unknown);
    const before = found.value;
    const changed = patched(before, patch);
    if (sameDocument(changed, before)) return done(before);
    return this.#replacePool(by, nowMs, "pool.update", before, changed);
  }

  /**
   * The next secret. Until `endRotation` the one before goes on signing orders, since gates learn the new one only
   * from what this returns; what gates sign is accepted under both.
   */
  rotateSecret(by: By, nowMs: number, id: string): Result<Done<Pool>> {
    const before = this.pools.get(id);
    if (!before) return missing(`pool '${id}'`);
    if (before.rotating) {
      const detail = "A rotation is under way: give all gates the new secret, then end it.";
      return refused({ tag: "conflict", detail });
    }
    const changed = { ...before, secretVersion: before.secretVersion + 1, rotating: true };
    this.#rememberSecret(id, changed.secretVersion);
    return this.#replacePool(by, nowMs, "pool.rotate-secret", before, changed);
  }

  /** All gates have the new secret. Ending twice is ending once. */
  endRotation(by: By, nowMs: number, id: string): Result<Done<Pool>> {
    const before = this.pools.get(id);
    if (!before) return missing(`pool '${id}'`);
    if (!before.rotating) return done(before);
    const { rotating: _, ...changed } = before;
    return this.#replacePool(by, nowMs, "pool.end-rotation", before, changed);
  }

  removePool(by: By, nowMs: number, id: string, version: number | null): Result<Done<null>> {
    const found = at(this.pools, "pool", id, version);
    if (!found.ok) return found;
    this.pools.remove(id);
    this.#nextVersion();
    this.#audit.add(by, nowMs, "pool.delete", `pools/${id}`, found.value, null);
    return done(null);
  }

  #replacePool(by: By, nowMs: number, action: string, before: Pool, changed: Pool): Result<Done<Pool>> {
    const after = { ...changed, version: this.#nextVersion() };
    this.pools.replace(after);
    this.#audit.add(by, nowMs, action, `pools/${after.id}`, before, after);
    return done(after);
  }

  #insert(table: "models" | "pools", document: { id: string }): void {
    const query = `INSERT INTO ${table} (id, document) VALUES (?, ?)`;
    this.#sql.exec(query, document.id, JSON.stringify(document));
  }

  #nextVersion(): number {
    return nextNumber(this.#sql, "catalogue");
  }

  #unknownModel(entries: PoolInput["models"]): Failure | null {
    const index = entries.findIndex(({ model }) => !this.models.get(model));
    if (index < 0) return null;
    const detail = `There is no model '${entries[index]!.model}'. Create it first.`;
    return { tag: "invalid_field", param: `models.${index}.model`, detail };
  }

  /**
   * Gates are accepted with a pool's secret of this version and the one before. For a pool that existed before,
   * neither may be one that its gates knew.
   */
  #freshSecretVersion(pool: string): number {
    const query = "SELECT version FROM pool_secrets WHERE pool = ?";
    const [last] = this.#sql.exec<{ version: number }>(query, pool).toArray();
    const version = last ? last.version + 2 : 1;
    this.#rememberSecret(pool, version);
    return version;
  }

  #rememberSecret(pool: string, version: number): void {
    this.#sql.exec("INSERT OR REPLACE INTO pool_secrets (pool, version) VALUES (?, ?)", pool, version);
  }
}

function at<T extends { id: string; version: number }>(
  documents: Documents<T>,
  what: string,
  id: string,
  version: number | null,
): Result<T> {
  const document = documents.get(id);
  if (!document) return missing(`${what} '${id}'`);
  if (version !== null && version !== document.version) {
    return refused({ tag: "version_mismatch", current: document.version });
  }
  return ok(document);
}

/** Directories ask for the catalogue themselves: no object has to be told. */
function done<T>(value: T): Result<Done<T>> {
  return ok({ value, push: null });
}

function full(what: string, max: number): Result<never> {
  return refused({ tag: "conflict", detail: `There are already ${max} ${what}, the most that are allowed.` });
}
