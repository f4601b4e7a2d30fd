/** A token bucket. */
import type { Clock } from '../../clock.ts'

interface Rate {
  readonly burst: number
  readonly perSecond: number
}

export class RateLimit {
  readonly #clock: Pick<Clock, 'elapsed'>
  readonly #rate: Rate
  #tokens: number
  #countedAt: number

  constructor(clock: Pick<Clock, 'elapsed'>, rate: Rate) {
    this.#clock = clock
    this.#rate = rate
    this.#tokens = rate.burst
    this.#countedAt = clock.elapsed()
  }

  admit(): boolean {
    const { burst, perSecond } = this.#rate
    const now = this.#clock.elapsed()
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#countedAt) * perSecond) / 1000)
    this.#countedAt = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}
