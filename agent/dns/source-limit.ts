/** How many questions one address may ask: a peer that floods costs the kernel a packet each, and this process not much more. */
import type { Clock } from '../clock.ts'

const PER_SECOND = 100
/** A browser that opens a page of many hosts, several times over. */
const BURST = 400
/** Addresses that are remembered. With more than that all begin anew: it is the flooders who are most of them. */
const MAX_SOURCES = 1_024

interface Bucket {
  readonly tokens: number
  readonly countedAt: number
}

export class SourceLimit {
  readonly #clock: Pick<Clock, 'elapsed'>
  readonly #buckets = new Map<string, Bucket>()

  constructor(clock: Pick<Clock, 'elapsed'>) {
    this.#clock = clock
  }

  admit(address: string): boolean {
    const now = this.#clock.elapsed()
    const { tokens, countedAt } = this.#buckets.get(address) ?? { tokens: BURST, countedAt: now }
    const available = Math.min(BURST, tokens + ((now - countedAt) * PER_SECOND) / 1000)
    const admitted = available >= 1
    if (!this.#buckets.has(address) && this.#buckets.size >= MAX_SOURCES) this.#buckets.clear()
    this.#buckets.set(address, { tokens: admitted ? available - 1 : available, countedAt: now })
    return admitted
  }
}
