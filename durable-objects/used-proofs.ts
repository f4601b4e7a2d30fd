/**
 * Proofs that are used up by the entry they caused (the others: replay-cache.ts). Here, in the entry's own transaction, one write to the disk
 * makes both durable, and neither is ever there without the other.
 *
 * Looked up in memory, and stored by transaction, not one by one: a row for each, in the order of their random ids, would be the larger part of
 * what a read of a secret writes.
 */
import type { ProofId } from '../crypto/request-proof.ts'
import { type Refusal, refusal } from '../protocol/errors.ts'
import type { Migration, Sql } from './sql.ts'

export const USED_PROOFS_MIGRATIONS: readonly Migration[] = [
  {
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
  },
  {
    id: 5,
    sql: `
    ALTER TABLE used_proofs RENAME TO single_proofs;
    -- Those of one transaction, until the last of them is too old: [[jti, gone_at, request], …].
    CREATE TABLE used_proofs (
      gone_at INTEGER NOT NULL,
      n INTEGER NOT NULL,
      proofs TEXT NOT NULL,
      PRIMARY KEY (gone_at, n)
    ) WITHOUT ROWID;
    INSERT INTO used_proofs SELECT gone_at, ROW_NUMBER() OVER (ORDER BY gone_at, jti),
      json_array(json_array(jti, gone_at, request)) FROM single_proofs;
    DROP TABLE single_proofs;
  `,
  },
]

const SWEEP_EVERY_MS = 1000
/** A fleet that reads at full speed must not wait for all of a minute's rows to go at once. */
const SWEEP_BATCH = 4096
/** Proofs go in bundles of this time. */
const BUNDLE_MS = 1000

type StoredProof = readonly [jti: string, goneAt: number, request: string]

interface Row extends Record<string, number | string> {
  n: number
  proofs: string
}

export class UsedProofs {
  readonly #sql: Sql
  /** By the bundle and then by the proof, which request it was used for; undefined while that may differ from what is stored. */
  #loaded: Map<number, Map<string, string>> | undefined
  /** Used in this transaction. */
  #added: StoredProof[] = []
  #rows = 0
  #sweptAt = 0

  constructor(sql: Sql) {
    this.#sql = sql
  }

  /** Why the proof does not count; undefined the first time, and when the same request comes again because its answer was lost. */
  use({ jti, goneAt }: ProofId, request: string, now: number): Refusal | undefined {
    this.#sweep(now)
    // Whoever found it young enough has another clock: here, where it may have been forgotten, it is too old.
    if (now >= goneAt) return refusal('E_PROOF_EXPIRED')
    const usedFor = this.#usedFor(jti, goneAt)
    if (usedFor !== undefined) return usedFor === request ? undefined : refusal('E_PROOF_REPLAYED')
    this.#remember([jti, goneAt, request])
    this.#added.push([jti, goneAt, request])
    return undefined
  }

  /** Writes what was used. Call it at the end of the transaction; if that fails, `forget`. */
  store(): void {
    if (this.#added.length === 0) return
    const goneAt = Math.max(...this.#added.map(([, end]) => end))
    this.#rows += 1
    this.#sql.run(
      'INSERT INTO used_proofs (gone_at, n, proofs) VALUES (?, ?, ?)',
      goneAt,
      this.#rows,
      JSON.stringify(this.#added),
    )
    this.#added = []
  }

  /** What was used in a transaction that was rolled back was not used. */
  forget(): void {
    this.#loaded = undefined
    this.#added = []
  }

  #usedFor(jti: string, goneAt: number): string | undefined {
    return this.#bundles.get(bundleOf(goneAt))?.get(keyOf(jti, goneAt))
  }

  #remember([jti, goneAt, request]: StoredProof): void {
    const bundles = this.#bundles
    const bundle = bundles.get(bundleOf(goneAt)) ?? new Map<string, string>()
    bundles.set(bundleOf(goneAt), bundle.set(keyOf(jti, goneAt), request))
  }

  get #bundles(): Map<number, Map<string, string>> {
    if (this.#loaded !== undefined) return this.#loaded
    this.#loaded = new Map()
    for (const { n, proofs } of this.#sql.all<Row>('SELECT n, proofs FROM used_proofs')) {
      this.#rows = Math.max(this.#rows, n)
      for (const proof of JSON.parse(proofs) as StoredProof[]) this.#remember(proof)
    }
    return this.#loaded
  }

  #sweep(now: number): void {
    if (now - this.#sweptAt < SWEEP_EVERY_MS) return
    this.#sweptAt = now
    this.#sql.run(
      `DELETE FROM used_proofs WHERE (gone_at, n) IN
       (SELECT gone_at, n FROM used_proofs WHERE gone_at <= ? ORDER BY gone_at, n LIMIT ?)`,
      now,
      SWEEP_BATCH,
    )
    for (const bundle of this.#bundles.keys()) if (bundle < bundleOf(now)) this.#bundles.delete(bundle)
  }
}

const bundleOf = (goneAt: number): number => Math.floor(goneAt / BUNDLE_MS)

const keyOf = (jti: string, goneAt: number): string => `${jti} ${goneAt}`
