/**
 * How this node looks from outside: by what STUN servers answer, and by what peers have seen of its probes. Peers may lie; what they say is
 * only passed on to other peers as one more candidate, few at a time.
 */
import { MAX_MAPPED_ENDPOINTS, type Nat } from '../../../crypto/signal.ts'
import type { Endpoint, NodeId } from '../../../protocol/ids.ts'
import { splitEndpoint } from '../endpoint-form.ts'
import { isPublic } from '../endpoints.ts'

/** Peers that say something of it. */
const MAX_REPORTS = 8

interface FromStun {
  readonly mapped: readonly Endpoint[]
  readonly nat: Nat
}

export class OwnMapping {
  /** The newest last. */
  readonly #seen = new Map<NodeId, Endpoint>()

  /** The network of this machine has changed. */
  reset(): void {
    this.#seen.clear()
  }

  forgetAllBut(peers: ReadonlyMap<NodeId, unknown>): void {
    for (const id of this.#seen.keys()) if (!peers.has(id)) this.#seen.delete(id)
  }

  /** @returns whether that is news. */
  report(peer: NodeId, observed: Endpoint): boolean {
    if (!isPublic(splitEndpoint(observed).address)) return false
    const news = ![...this.#seen.values()].includes(observed)
    this.#seen.delete(peer)
    this.#seen.set(peer, observed)
    const [oldest] = this.#seen.keys()
    if (this.#seen.size > MAX_REPORTS && oldest !== undefined) this.#seen.delete(oldest)
    return news
  }

  /** What peers may be told beside the node's own endpoints. */
  mapped(own: ReadonlySet<Endpoint>, stun: FromStun): Endpoint[] {
    const seen = [...this.#seen.values()].reverse()
    const all = [...new Set([...stun.mapped, ...seen])].filter((endpoint) => !own.has(endpoint))
    if (stun.nat !== 'hard') return all.slice(0, MAX_MAPPED_ENDPOINTS)
    // A NAT that makes a mapping for each destination has made none yet for the peer that is told. But what the peer sends to any port of
    // the address opens its own NAT, if that goes by addresses alone.
    const addresses = new Map(all.map((endpoint) => [splitEndpoint(endpoint).address, endpoint]))
    return [...addresses.values()].slice(0, MAX_MAPPED_ENDPOINTS)
  }

  nat(own: ReadonlySet<Endpoint>, stun: FromStun): Nat {
    if (stun.nat !== 'unknown') return stun.nat
    if (this.#seen.size === 0) return 'unknown'
    return [...this.#seen.values()].every((endpoint) => own.has(endpoint)) ? 'none' : 'easy'
  }

  /** Whether a NAT stands between this node and this peer, as far as the peer has seen. */
  isMappedFor(peer: NodeId, own: ReadonlySet<Endpoint>): boolean | undefined {
    const seen = this.#seen.get(peer)
    return seen && !own.has(seen)
  }
}
