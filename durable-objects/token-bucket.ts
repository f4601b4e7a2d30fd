/** A token bucket: `burst` at once, then `perSecond`. Times are Unix ms, given by the caller. */
export class TokenBucket {
  readonly #burst: number
  readonly #perMs: number
  #tokens: number
  #at: number | undefined

  constructor(burst: number, perSecond: number) {
    this.#burst = burst
    this.#perMs = perSecond / 1000
    this.#tokens = burst
  }

  /** False if there is no token left. */
  take(now: number): boolean {
    const elapsed = Math.max(0, now - (this.#at ?? now))
    this.#at = now
    this.#tokens = Math.min(this.#burst, this.#tokens + elapsed * this.#perMs)
    if (this.#tokens < 1) return false
    this.#tokens -= 1
    return true
  }
}
