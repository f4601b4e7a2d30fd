/** How many questions one address may ask: a peer that floods costs the kernel a packet each, and this process not much more. */
import type { Clock } from '../clock.ts'
import { TokenBuckets } from '../token-buckets.ts'

const PER_SECOND = 100
/** A browser that opens a page of many hosts, several times over. */
const BURST = 400
/** Addresses that are remembered. With more than that all begin anew: it is the flooders who are most of them. */
const MAX_SOURCES = 1_024

export class SourceLimit {
  readonly #buckets: TokenBuckets<string>

  constructor(clock: Pick<Clock, 'elapsed'>) {
    this.#buckets = new TokenBuckets(clock, { perSecond: PER_SECOND, burst: BURST })
  }

  admit(address: string): boolean {
    if (!this.#buckets.has(address) && this.#buckets.size >= MAX_SOURCES) this.#buckets.clear()
    return this.#buckets.take(address)
  }
}
