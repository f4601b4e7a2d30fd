/** Brings D1 up to date, recorded as `wrangler d1 migrations apply` does, so that either can follow the other. */

export interface Migration {
  /** File name, which orders them. */
  readonly name: string
  readonly statements: readonly string[]
}

const RECORD_TABLE = `CREATE TABLE IF NOT EXISTS d1_migrations (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT UNIQUE,
  applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL
)`

/** Each migration is one transaction together with its record: it happened, or it did not. */
export async function applyMigrations(db: D1Database, migrations: readonly Migration[]): Promise<void> {
  await db.prepare(RECORD_TABLE).run()
  const { results } = await db.prepare('SELECT name FROM d1_migrations').all<{ name: string }>()
  const applied = new Set(results.map(({ name }) => name))
  for (const { name, statements } of migrations.filter((one) => !applied.has(one.name)))
    await db.batch([
      ...statements.map((sql) => db.prepare(sql)),
      db.prepare('INSERT INTO d1_migrations (name) VALUES (?)').bind(name),
    ])
}
