/**
 * How many frames of a kind may go out: a share of what the gateway's own rule (protocol/limits.ts) allows a session. The shares leave a margin,
 * because two clocks count the same second differently and frames bunch up on the way, so that its refusal is never met.
 */
import { FRAME_BURST, FRAMES_PER_SECOND } from '../../protocol/limits.ts'
import type { Clock } from '../clock.ts'

export class TokenBucket {
  readonly #clock: Clock
  readonly #burst: number
  readonly #perMs: number
  #tokens: number
  #countedAt: number

  constructor(clock: Clock, share: number) {
    this.#clock = clock
    this.#burst = FRAME_BURST * share
    this.#perMs = (FRAMES_PER_SECOND * share) / 1000
    this.#tokens = this.#burst
    this.#countedAt = clock.elapsed()
  }

  /** Zero if a frame may go out now, and it is counted; else the milliseconds to wait before asking again. */
  take(): number {
    const now = this.#clock.elapsed()
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#countedAt) * this.#perMs)
    this.#countedAt = now
    if (this.#tokens < 1) return Math.ceil((1 - this.#tokens) / this.#perMs)
    this.#tokens -= 1
    return 0
  }
}
