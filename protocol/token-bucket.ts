/** How much of something is allowed: `burst` at once, then `perSecond`. */
export interface Rate {
  readonly burst: number
  readonly perSecond: number
}

/** A token bucket, full at first. Times are milliseconds of a clock of the caller's, always the same one. */
export class TokenBucket {
  readonly #burst: number
  readonly #perMs: number
  #tokens: number
  #at: number | undefined

  constructor({ burst, perSecond }: Rate) {
    this.#burst = burst
    this.#perMs = perSecond / 1000
    this.#tokens = burst
  }

  /** False, and nothing is taken, if there is not so much left. */
  take(now: number, amount = 1): boolean {
    this.#fill(now)
    if (this.#tokens < amount) return false
    this.#tokens -= amount
    return true
  }

  /** Milliseconds until one can be taken. */
  wait(now: number): number {
    this.#fill(now)
    return Math.max(0, Math.ceil((1 - this.#tokens) / this.#perMs))
  }

  #fill(now: number): void {
    // A wall clock may have been set back.
    const elapsed = Math.max(0, now - (this.#at ?? now))
    this.#at = now
    this.#tokens = Math.min(this.#burst, this.#tokens + elapsed * this.#perMs)
  }
}
