/**
 * The loopback port of each relayed peer. It follows from the peer's id, so that an agent that starts anew finds WireGuard's endpoints as it left
 * them; only where two peers would share one does the later one get the next.
 */
import { fromBase32 } from '../../../protocol/base32.ts'
import type { NodeId } from '../../../protocol/ids.ts'
import { PEER_PORTS } from './loopback-rules.ts'

const COUNT = PEER_PORTS.last - PEER_PORTS.first + 1

export class PeerPorts {
  readonly #taken: ReadonlySet<number>
  readonly #ports = new Map<NodeId, number>()
  readonly #peers = new Map<number, NodeId>()

  /** @param taken ports that mean something else. */
  constructor(taken: ReadonlySet<number>) {
    this.#taken = taken
  }

  of(peer: NodeId): number | undefined {
    return this.#ports.get(peer)
  }

  peerAt(port: number): NodeId | undefined {
    return this.#peers.get(port)
  }

  take(peer: NodeId): number {
    const existing = this.#ports.get(peer)
    if (existing !== undefined) return existing
    let port = wantedPort(peer)
    while (this.#taken.has(port) || this.#peers.has(port))
      port = PEER_PORTS.first + ((port + 1 - PEER_PORTS.first) % COUNT)
    this.#ports.set(peer, port)
    this.#peers.set(port, peer)
    return port
  }

  release(peer: NodeId): void {
    const port = this.#ports.get(peer)
    if (port === undefined) return
    this.#ports.delete(peer)
    this.#peers.delete(port)
  }
}

function wantedPort(peer: NodeId): number {
  const bytes = fromBase32(peer)
  return PEER_PORTS.first + (new DataView(bytes.buffer).getUint32(bytes.length - 4) % COUNT)
}
