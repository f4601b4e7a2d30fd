/** A token bucket of which any amount is taken. Times are Unix ms, given by the caller. */
export class RateLimit {
  readonly #burst: number
  readonly #perMs: number
  #tokens: number
  #at: number

  constructor({ burst, perSecond }: { readonly burst: number; readonly perSecond: number }, now: number) {
    this.#burst = burst
    this.#perMs = perSecond / 1000
    this.#tokens = burst
    this.#at = now
  }

  /** False, and nothing is taken, if there is not so much left. */
  take(amount: number, now: number): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + Math.max(0, now - this.#at) * this.#perMs)
    this.#at = now
    if (this.#tokens < amount) return false
    this.#tokens -= amount
    return true
  }
}
