/** How many signals of one sender are worth opening: each costs two key agreements, and an honest peer has few to send. */
import type { NodeId } from '../../protocol/ids.ts'
import type { Clock } from '../clock.ts'

const PER_SECOND = 2
/** A peer that connects, answers, moves, changes its key and agrees on a shared one, all in one moment. */
const BURST = 16

interface Bucket {
  readonly tokens: number
  readonly countedAt: number
}

export class SenderLimit {
  readonly #clock: Pick<Clock, 'elapsed'>
  /** No more than there are peers. */
  readonly #buckets = new Map<NodeId, Bucket>()

  constructor(clock: Pick<Clock, 'elapsed'>) {
    this.#clock = clock
  }

  /** @param id of a peer: for a stranger nothing must be kept. */
  admit(id: NodeId): boolean {
    const now = this.#clock.elapsed()
    const { tokens, countedAt } = this.#buckets.get(id) ?? { tokens: BURST, countedAt: now }
    const available = Math.min(BURST, tokens + ((now - countedAt) * PER_SECOND) / 1000)
    const admitted = available >= 1
    this.#buckets.set(id, { tokens: admitted ? available - 1 : available, countedAt: now })
    return admitted
  }

  forgetAllBut(peers: ReadonlyMap<NodeId, unknown>): void {
    for (const id of this.#buckets.keys()) if (!peers.has(id)) this.#buckets.delete(id)
  }
}
