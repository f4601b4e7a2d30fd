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
  #sweptAt = 0

  constructor(sql: Sql) {
    this.#sql = sql
  }

  /** True the first time. @param goneAt Unix ms after which the proof is refused for its age. */
  admit(jti: string, goneAt: number, now: number): boolean {
    if (now - this.#sweptAt > SWEEP_EVERY_MS) {
      this.#sql.run('DELETE FROM proofs_seen WHERE gone_at < ?', now)
      this.#sweptAt = now
    }
    const inserted = this.#sql.first(
      'INSERT INTO proofs_seen (jti, gone_at) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING 1 AS one',
      jti,
      goneAt,
    )
    return inserted !== undefined
  }

  /** Whether it was admitted before. Costs no row. */
  hasSeen(jti: string): boolean {
    return this.#sql.first('SELECT 1 AS one FROM proofs_seen WHERE jti = ?', jti) !== undefined
  }
}
