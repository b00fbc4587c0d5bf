/** Tables of the registry. Append only (see schema.ts). */
export const MIGRATIONS = [
  `
  CREATE TABLE tenants (id TEXT PRIMARY KEY, ref TEXT NOT NULL UNIQUE, document TEXT NOT NULL);
  CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    document TEXT NOT NULL
  );
  CREATE INDEX keys_by_tenant ON keys (tenant_id, id);
  CREATE TABLE models (id TEXT PRIMARY KEY, document TEXT NOT NULL);
  CREATE TABLE pools (id TEXT PRIMARY KEY, document TEXT NOT NULL);

  -- Outlives the pool: one that is created again under the same id must not get a secret that was in use before.
  CREATE TABLE pool_secrets (pool TEXT PRIMARY KEY, version INTEGER NOT NULL);

  CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);

  -- AUTOINCREMENT: a number is never used again, so a cursor stays true when the oldest entries go.
  CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    request_id TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    before TEXT,
    after TEXT
  );

  -- One row per budget object: a newer record replaces an older one that is still to be delivered.
  CREATE TABLE outbox (
    tenant_ref TEXT NOT NULL,
    home_hint TEXT NOT NULL,
    version INTEGER NOT NULL,
    record TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    due_at_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant_ref, home_hint)
  );

  CREATE TABLE replies (request_id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL, reply TEXT NOT NULL);
  `,
  `
  CREATE TABLE overrides (model TEXT NOT NULL, step TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (model, step));
  CREATE TABLE approvals (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    until_ms INTEGER NOT NULL,
    document TEXT NOT NULL
  );
  CREATE INDEX approvals_by_end ON approvals (state, until_ms);
  `,
  "CREATE TABLE quarantine (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL)",
];
