/** Brings D1 up to date from migrations/*.sql, recorded as `wrangler d1 migrations apply` does, so that either can follow the other. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The part of a D1 database that is used here. */
export interface Database {
  prepare(sql: string): Statement
  batch(statements: Statement[]): Promise<unknown>
}

interface Statement {
  bind(...values: unknown[]): Statement
  all(): Promise<{ results: Record<string, unknown>[] }>
}

const RECORD_TABLE = `CREATE TABLE IF NOT EXISTS d1_migrations (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT UNIQUE,
  applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL
)`

/** Each migration is one transaction together with its record: it happened, or it did not. */
export async function applyMigrations(db: Database, directory: string): Promise<void> {
  await db.batch([db.prepare(RECORD_TABLE)])
  const { results } = await db.prepare('SELECT name FROM d1_migrations').all()
  const applied = new Set(results.map((row) => row['name']))
  const files = readdirSync(directory).filter((name) => name.endsWith('.sql') && !applied.has(name))
  for (const name of files.sort()) {
    const statements = splitStatements(readFileSync(join(directory, name), 'utf8')).map((sql) =>
      db.prepare(sql),
    )
    await db.batch([...statements, db.prepare('INSERT INTO d1_migrations (name) VALUES (?)').bind(name)])
  }
}

/** D1 takes one statement at a time. One ends with a semicolon at the end of a line; a trigger, with `END;` on its own. */
export function splitStatements(sql: string): string[] {
  const statements: string[] = []
  let lines: string[] = []
  for (const line of sql.split('\n').filter((text) => !/^\s*(--.*)?$/.test(text))) {
    lines.push(line)
    const isTrigger = /^\s*CREATE\s+(TEMP\s+|TEMPORARY\s+)?TRIGGER\b/i.test(lines[0] ?? '')
    if (isTrigger ? !/^\s*END;\s*$/i.test(line) : !/;\s*$/.test(line)) continue
    statements.push(lines.join('\n'))
    lines = []
  }
  if (lines.length > 0) throw new Error('a migration ends without a semicolon')
  return statements
}
