/** What a relay has done for each node, and what it did not do, by reason. */
import type { NodeId } from '../protocol/ids.ts'

/**
 * `rate`: the sender was over its rate. `closed`: the index is no peer's. `absent`: the peer has not opened its end. `refused`: a grant of one of
 * the two has ended or does not name the other. `queue`: displaced by newer ones. `full`: the relay holds as much as it may.
 */
export type Drop = 'rate' | 'closed' | 'absent' | 'refused' | 'queue' | 'full'

export interface Account {
  /** Taken from the node, before anything was dropped. */
  packetsIn: number
  bytesIn: number
  /** Handed on to the node. */
  packetsOut: number
  bytesOut: number
  /** Packets of this sender that went nowhere. */
  readonly dropped: Record<Drop, number>
}

const newAccount = (): Account => ({
  packetsIn: 0,
  bytesIn: 0,
  packetsOut: 0,
  bytesOut: 0,
  dropped: { rate: 0, closed: 0, absent: 0, refused: 0, queue: 0, full: 0 },
})

export class Accounts {
  readonly #open = new Map<NodeId, Account>()
  /** Of all nodes, those that have left included. */
  readonly total = newAccount()

  of(node: NodeId): Account {
    const account = this.#open.get(node) ?? newAccount()
    this.#open.set(node, account)
    return account
  }

  tookIn(node: NodeId, packets: number, bytes: number): void {
    for (const account of [this.of(node), this.total]) {
      account.packetsIn += packets
      account.bytesIn += bytes
    }
  }

  handedOn(node: NodeId, packets: number, bytes: number): void {
    for (const account of [this.of(node), this.total]) {
      account.packetsOut += packets
      account.bytesOut += bytes
    }
  }

  dropped(sender: NodeId, reason: Drop, packets = 1): void {
    for (const account of [this.of(sender), this.total]) account.dropped[reason] += packets
  }

  /** The node has left: what it did stays in the total. */
  close(node: NodeId): void {
    this.#open.delete(node)
  }
}
