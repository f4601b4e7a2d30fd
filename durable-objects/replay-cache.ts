/**
 * Request proofs seen, kept until they could no longer pass anyway. In SQLite, because memory goes with hibernation and a replay would
 * then pass; in the object of the node, because one thread makes "seen before?" exact under concurrency, which KV cannot.
 */
import type { Migration, Sql } from './sql.ts'

export const REPLAY_MIGRATION: Migration = {
  id: 1,
  sql: 'CREATE TABLE proofs_seen (jti TEXT PRIMARY KEY, gone_at INTEGER NOT NULL) WITHOUT ROWID',
}

/** A deletion is a row of the bill like an insertion: many go at once, and not on every request. */
const SWEEP_EVERY_MS = 60_000

export class ReplayCache {
  readonly #sql: Sql
  /** What the table holds, by id, with its end: most proofs are only looked up, and are not there. */
  readonly #seen: Map<string, number>
  #sweptAt = 0

  constructor(sql: Sql) {
    this.#sql = sql
    const rows = sql.all<{ jti: string; gone_at: number }>('SELECT jti, gone_at FROM proofs_seen')
    this.#seen = new Map(rows.map(({ jti, gone_at }) => [jti, gone_at]))
  }

  /** True the first time. @param goneAt Unix ms after which the proof is refused for its age. */
  admit(jti: string, goneAt: number, now: number): boolean {
    if (now - this.#sweptAt > SWEEP_EVERY_MS) {
      this.#sql.run('DELETE FROM proofs_seen WHERE gone_at < ?', now)
      for (const [seen, end] of this.#seen) if (end < now) this.#seen.delete(seen)
      this.#sweptAt = now
    }
    if (this.#seen.has(jti)) return false
    this.#sql.run('INSERT INTO proofs_seen (jti, gone_at) VALUES (?, ?)', jti, goneAt)
    this.#seen.set(jti, goneAt)
    return true
  }

  /** Whether it was admitted before. Costs no row. */
  hasSeen(jti: string): boolean {
    return this.#seen.has(jti)
  }
}
