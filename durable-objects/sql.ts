/** SQLite of a Durable Object: cursors drained at once, because one held over an `await` sees later writes, and every row counted. */
import { count } from './counters.ts'

type Value = string | number | null | ArrayBuffer
type Row = Record<string, Value>

/** Ordered and append-only: a step that has run anywhere is never edited. */
export interface Migration {
  readonly id: number
  readonly sql: string
  /** What SQL cannot say, in the same transaction. */
  readonly andThen?: (sql: Sql) => void
}

export class Sql {
  readonly #storage: DurableObjectStorage

  constructor(storage: DurableObjectStorage, migrations: readonly Migration[]) {
    this.#storage = storage
    this.#migrate(migrations)
  }

  all<T extends Row>(query: string, ...bindings: Value[]): T[] {
    const cursor = this.#storage.sql.exec<T>(query, ...bindings)
    const rows = cursor.toArray()
    count('rows_read', cursor.rowsRead)
    count('rows_written', cursor.rowsWritten)
    return rows
  }

  first<T extends Row>(query: string, ...bindings: Value[]): T | undefined {
    return this.all<T>(query, ...bindings)[0]
  }

  run(query: string, ...bindings: Value[]): void {
    this.all(query, ...bindings)
  }

  /** All or nothing; `work` must be synchronous. */
  transaction<T>(work: () => T): T {
    return this.#storage.transactionSync(work)
  }

  #migrate(migrations: readonly Migration[]): void {
    this.run('CREATE TABLE IF NOT EXISTS schema_migrations (id INTEGER PRIMARY KEY)')
    const done = this.first<{ id: number | null }>('SELECT MAX(id) AS id FROM schema_migrations')?.id ?? 0
    for (const { id, sql, andThen } of migrations) {
      if (id <= done) continue
      this.transaction(() => {
        this.run(sql)
        andThen?.(this)
        this.run('INSERT INTO schema_migrations (id) VALUES (?)', id)
      })
    }
  }
}
