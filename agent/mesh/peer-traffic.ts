/**
 * Which peers this node really talks to. In a large fleet most are only known: a keepalive to each of thousands would be hundreds of packets a
 * second for nothing, so above a number of peers only those are kept reachable that something was sent to or came from.
 */
import type { NodeId } from '../../protocol/ids.ts'
import type { Clock } from '../clock.ts'
import type { ActualPeer } from './reconcile.ts'

/** With more peers than this, idle ones are let rest. 300 keepalives every 25 s are 12 packets a second. */
export const LAZY_ABOVE = 300
/** A job that pauses for some minutes finds its peers as it left them. */
const ACTIVE_MS = 5 * 60_000
/** What WireGuard itself moves between two looks, ten seconds apart: unanswered handshakes, or one that succeeds and keepalives both ways. */
const UPKEEP_BYTES = 512

interface Seen {
  readonly bytes: number
  readonly activeAt: number
}

export class PeerTraffic {
  readonly #clock: Pick<Clock, 'elapsed'>
  readonly #seen = new Map<NodeId, Seen>()

  constructor(clock: Pick<Clock, 'elapsed'>) {
    this.#clock = clock
  }

  /** Takes note of the peer's counters. @returns whether it has had traffic lately. */
  isActive(id: NodeId, actual: ActualPeer | undefined): boolean {
    const now = this.#clock.elapsed()
    const bytes = actual === undefined ? 0 : actual.rxBytes + actual.txBytes
    const before = this.#seen.get(id) ?? { bytes, activeAt: Number.NEGATIVE_INFINITY }
    // Without a keepalive WireGuard says nothing unless it has something to carry. Counters begin anew with the interface.
    const upkeep = (actual?.keepalive ?? 0) > 0 ? UPKEEP_BYTES : 0
    const activeAt = bytes - before.bytes > upkeep ? now : before.activeAt
    this.#seen.set(id, { bytes, activeAt })
    return now - activeAt < ACTIVE_MS
  }

  forgetAllBut(peers: ReadonlySet<NodeId>): void {
    for (const id of this.#seen.keys()) if (!peers.has(id)) this.#seen.delete(id)
  }
}
