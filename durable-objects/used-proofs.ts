/**
 * Proofs that are used up by the entry they caused (the others: replay-cache.ts). Here, in the entry's own transaction, one write to the disk
 * makes both durable, and neither is ever there without the other.
 */

import type { ProofId } from '../crypto/request-proof.ts'
import { type Refusal, refusal } from '../protocol/errors.ts'
import type { Migration, Sql } from './sql.ts'

export const USED_PROOFS_MIGRATION: Migration = {
  id: 4,
  sql: `
    -- By time first, so that what is written together, and what goes together, lies together. A replay is the same proof, with the same end.
    CREATE TABLE used_proofs (
      gone_at INTEGER NOT NULL,
      jti TEXT NOT NULL,
      request TEXT NOT NULL,
      PRIMARY KEY (gone_at, jti)
    ) WITHOUT ROWID
  `,
}

const SWEEP_EVERY_MS = 1000
/** A fleet that reads at full speed must not wait for all of a minute's proofs to go at once. */
const SWEEP_BATCH = 4096

export class UsedProofs {
  readonly #sql: Sql
  #sweptAt = 0

  constructor(sql: Sql) {
    this.#sql = sql
  }

  /** Why the proof does not count; undefined the first time, and when the same request comes again because its answer was lost. */
  use({ jti, goneAt }: ProofId, request: string, now: number): Refusal | undefined {
    this.#sweep(now)
    // Whoever found it young enough has another clock: here, where it may have been forgotten, it is too old.
    if (now >= goneAt) return refusal('E_PROOF_EXPIRED')
    const used = this.#sql.first(
      `INSERT INTO used_proofs (gone_at, jti, request) VALUES (?, ?, ?)
       ON CONFLICT DO UPDATE SET request = excluded.request WHERE request = excluded.request RETURNING 1 AS one`,
      goneAt,
      jti,
      request,
    )
    return used === undefined ? refusal('E_PROOF_REPLAYED') : undefined
  }

  #sweep(now: number): void {
    if (now - this.#sweptAt < SWEEP_EVERY_MS) return
    this.#sweptAt = now
    this.#sql.run(
      `DELETE FROM used_proofs WHERE (gone_at, jti) IN
       (SELECT gone_at, jti FROM used_proofs WHERE gone_at <= ? ORDER BY gone_at, jti LIMIT ?)`,
      now,
      SWEEP_BATCH,
    )
  }
}
