/**
 * The search for a path to one peer by WireGuard's own means, where no probe can do it: each candidate in turn is its endpoint until one
 * gives a handshake. What WireGuard itself learns is left alone unless it is time for the next candidate.
 */
import type { Endpoint } from '../../../protocol/ids.ts'

/** WireGuard repeats an unanswered handshake after 5 s and up to a third more, so every candidate gets at least one. */
const TRY_MS = 5_500
/** Between two rounds. A peer that is off must not cost an attempt every few seconds for ever. */
const PAUSE_MS = 30_000

export class WireGuardSearch {
  #candidates: readonly Endpoint[] = []
  #tried = 0
  #triedAt: number | undefined
  #notBefore = Number.NEGATIVE_INFINITY
  #settled = false

  /** True while a candidate may answer any moment; not in the pause between rounds, nor while there is a path. */
  isActive(now: number): boolean {
    if (this.#settled || !this.#hasCandidates) return false
    return this.#triedAt === undefined || !this.#roundDone || now - this.#triedAt < TRY_MS
  }

  /** New candidates are tried at once, or from `notBefore` on; the same ones again change nothing. */
  offer(candidates: readonly Endpoint[], notBefore = Number.NEGATIVE_INFINITY): void {
    if (
      candidates.length === this.#candidates.length &&
      candidates.every((c, i) => c === this.#candidates[i])
    )
      return
    this.#candidates = candidates
    this.#notBefore = notBefore
    this.restart()
  }

  get first(): Endpoint | undefined {
    return this.#candidates[0]
  }

  /** There is a path. When there no longer is, the search begins with the first candidate. */
  settle(): void {
    this.#settled = true
    this.restart()
  }

  /** The first candidate is next, without waiting for the last one's answer. */
  restart(): void {
    this.#tried = 0
    this.#triedAt = undefined
  }

  /** The peer was heard of: it is worth trying although the last round found nothing. @returns whether that was so. */
  wake(): boolean {
    if (!this.#roundDone) return false
    this.restart()
    return true
  }

  /** What to set now, if anything. `tried` must follow once it is set. */
  next(now: number): Endpoint | undefined {
    this.#settled = false
    if (!this.#hasCandidates || now < this.#notBefore) return undefined
    const wait = this.#roundDone ? PAUSE_MS : TRY_MS
    if (this.#triedAt !== undefined && now - this.#triedAt < wait) return undefined
    return this.#candidates[this.#tried % this.#candidates.length]
  }

  tried(now: number): void {
    this.#tried++
    this.#triedAt = now
  }

  get #hasCandidates(): boolean {
    return this.#candidates.length > 0
  }

  get #roundDone(): boolean {
    return this.#tried > 0 && this.#tried % this.#candidates.length === 0
  }
}
