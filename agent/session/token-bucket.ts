/** How many frames may go out: the gateway's own rule (protocol/limits.ts) with a margin, so that its refusal is never met. */
import { FRAME_BURST, FRAMES_PER_SECOND } from '../../protocol/limits.ts'
import type { Clock } from '../clock.ts'

/** Two clocks count the same second differently, and frames bunch up on the way. */
const MARGIN = 0.75

export class TokenBucket {
  readonly #clock: Clock
  readonly #burst = FRAME_BURST * MARGIN
  readonly #perMs = (FRAMES_PER_SECOND * MARGIN) / 1000
  #tokens = this.#burst
  #countedAt: number

  constructor(clock: Clock) {
    this.#clock = clock
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
