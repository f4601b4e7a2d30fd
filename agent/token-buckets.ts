/** A bucket of tokens for each of many. */
import { type Rate, TokenBucket } from '../protocol/token-bucket.ts'
import type { Clock } from './clock.ts'

export class TokenBuckets<K> {
  readonly #clock: Pick<Clock, 'elapsed'>
  readonly #rate: Rate
  readonly #buckets = new Map<K, TokenBucket>()

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
    const bucket = this.#buckets.get(key) ?? new TokenBucket(this.#rate)
    this.#buckets.set(key, bucket)
    return bucket.take(this.#clock.elapsed())
  }

  clear(): void {
    this.#buckets.clear()
  }

  forgetAllBut(keys: ReadonlyMap<K, unknown>): void {
    for (const key of this.#buckets.keys()) if (!keys.has(key)) this.#buckets.delete(key)
  }
}
