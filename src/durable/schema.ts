/**
 * Migrations of an object's SQLite tables. `PRAGMA user_version` is refused inside Durable Objects, so a table
 * counts what has run. Call it in the constructor: all of it is synchronous, so no request can come between.
 */

/**
 * Runs the migrations that this object has not run yet, in order; each may hold several statements. Only ever
 * append to the list: an object sleeps for months and wakes up several migrations behind. And leave tables that
 * the version before can still use: a gradual deployment runs both at once, and a rollback goes back to it. So an
 * object that has run more than this version knows is left as it is.
 */
export function migrate(sql: SqlStorage, migrations: readonly string[]): void {
  sql.exec("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY)");
  const { done } = sql.exec<{ done: number }>("SELECT COUNT(*) AS done FROM migrations").one();
  // Writes without an await between them commit together, so a crash leaves no migration half done.
  for (const [index, statements] of migrations.entries()) {
    if (index < done) continue;
    sql.exec(statements);
    sql.exec("INSERT INTO migrations (number) VALUES (?)", index + 1);
  }
}
