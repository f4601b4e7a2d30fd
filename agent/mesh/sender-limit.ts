/** How many signals of one sender are worth opening: each costs two key agreements, and an honest peer has few to send. */
import type { NodeId } from '../../protocol/ids.ts'
import type { Clock } from '../clock.ts'
import { TokenBuckets } from '../token-buckets.ts'

const PER_SECOND = 2
/** A peer that connects, answers, moves, changes its key and agrees on a shared one, all in one moment. */
const BURST = 16

export class SenderLimit {
  /** No more than there are peers. */
  readonly #buckets: TokenBuckets<NodeId>

  constructor(clock: Pick<Clock, 'elapsed'>) {
    this.#buckets = new TokenBuckets(clock, { perSecond: PER_SECOND, burst: BURST })
  }

  /** @param id of a peer: for a stranger nothing must be kept. */
  admit(id: NodeId): boolean {
    return this.#buckets.take(id)
  }

  forgetAllBut(peers: ReadonlyMap<NodeId, unknown>): void {
    this.#buckets.forgetAllBut(peers)
  }
}
