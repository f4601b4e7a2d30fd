/** A bucket of tokens for each of many: `burst` at once, then `perSecond`. */
import type { Clock } from './clock.ts'

interface Rate {
  readonly perSecond: number
  readonly burst: number
}

interface Bucket {
  readonly tokens: number
  readonly countedAt: number
}

export class TokenBuckets<K> {
  readonly #clock: Pick<Clock, 'elapsed'>
  readonly #rate: Rate
  readonly #buckets = new Map<K, Bucket>()

  constructor(clock: Pick<Clock, 'elapsed'>, rate: Rate) {
    this.#clock = clock
    this.#rate = rate
  }

  get size(): number {
    return this.#buckets.size
  }

  has(key: K): boolean {
    return this.#buckets.has(key)
  }

  /** False if there is no token left. */
  take(key: K): boolean {
    const { perSecond, burst } = this.#rate
    const now = this.#clock.elapsed()
    const { tokens, countedAt } = this.#buckets.get(key) ?? { tokens: burst, countedAt: now }
    const available = Math.min(burst, tokens + ((now - countedAt) * perSecond) / 1000)
    const isLeft = available >= 1
    this.#buckets.set(key, { tokens: isLeft ? available - 1 : available, countedAt: now })
    return isLeft
  }

  clear(): void {
    this.#buckets.clear()
  }

  forgetAllBut(keys: ReadonlyMap<K, unknown>): void {
    for (const key of this.#buckets.keys()) if (!keys.has(key)) this.#buckets.delete(key)
  }
}
