/** Proofs that were used, in memory, until they could no longer pass anyway. */
import { PROOF_CLOCK_TOLERANCE_MS, PROOF_LIFETIME_MS } from '../../protocol/limits.ts'

/** Some 100 bytes each, of nodes that hold a grant: beyond it, newcomers are refused rather than old proofs forgotten. */
const MAX_PROOFS = 100_000
const SWEEP_EVERY_MS = 10_000

export class Replays {
  readonly #startedAt: number
  readonly #seen = new Map<string, number>()
  #sweptAt = 0

  /** Whatever was signed before `startedAt` may have been used at the process before this one. */
  constructor(startedAt: number) {
    this.#startedAt = startedAt
  }

  /** True the first time. @param issuedAt Unix seconds. */
  admit(jti: string, issuedAt: number, now: number): boolean {
    if ((issuedAt + 1) * 1000 <= this.#startedAt) return false
    if (now - this.#sweptAt > SWEEP_EVERY_MS) {
      for (const [id, goneAt] of this.#seen) if (goneAt < now) this.#seen.delete(id)
      this.#sweptAt = now
    }
    if (this.#seen.has(jti) || this.#seen.size >= MAX_PROOFS) return false
    this.#seen.set(jti, now + PROOF_LIFETIME_MS + 2 * PROOF_CLOCK_TOLERANCE_MS)
    return true
  }
}
