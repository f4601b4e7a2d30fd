/**
 * D1 as far as the secret store uses it, on the SQLite of a Durable Object: the same engine that D1 is, without the way there, so that ten
 * thousand sequences of changes take seconds. `d1-on-sqlite.test.ts` holds it to the real one.
 */
type Value = string | number | null | ArrayBuffer
type Row = Record<string, Value>

export const d1OnSqlite = (storage: DurableObjectStorage): D1Database =>
  ({
    prepare: (query: string) => new Statement(storage.sql, query, []),
    // The whole batch has happened or failed before anybody else runs.
    batch: async (statements: readonly Statement[]) =>
      storage.transactionSync(() => statements.map((statement) => statement.execute())),
  }) as unknown as D1Database

class Statement {
  readonly #sql: SqlStorage
  readonly #query: string
  readonly #values: readonly unknown[]

  constructor(sql: SqlStorage, query: string, values: readonly unknown[]) {
    this.#sql = sql
    this.#query = query
    this.#values = values
  }

  bind(...values: unknown[]): Statement {
    return new Statement(this.#sql, this.#query, values)
  }

  async all() {
    return this.execute()
  }

  async run() {
    return this.execute()
  }

  async first(): Promise<object | null> {
    return this.execute().results[0] ?? null
  }

  execute(): { success: true; results: object[] } {
    try {
      const rows = this.#sql.exec<Row>(this.#query, ...this.#values.map(bound)).toArray()
      return { success: true, results: rows.map(shown) }
    } catch (error) {
      const cause = error instanceof Error ? error : new Error(String(error))
      throw new Error(`D1_ERROR: ${cause.message}`, { cause })
    }
  }
}

function bound(value: unknown): Value {
  if (value instanceof Uint8Array) return value.slice().buffer
  if (value === null || typeof value === 'string' || typeof value === 'number') return value
  throw new TypeError(`Type '${typeof value}' not supported for value '${value}'`)
}

/** D1 answers in JSON, where bytes are lists of numbers. */
const shown = (row: Row): object =>
  Object.fromEntries(
    Object.entries(row).map(([column, value]) => [
      column,
      value instanceof ArrayBuffer ? Array.from(new Uint8Array(value)) : value,
    ]),
  )
