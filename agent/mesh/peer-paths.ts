/** What is known of where each peer is, and how far the search for a path to it has come. */
import type { BlockList } from 'node:net'
import type { Signal } from '../../crypto/signal.ts'
import { Endpoint, type NodeId } from '../../protocol/ids.ts'
import type { Known } from './cache.ts'
import { orderCandidates } from './endpoints.ts'
import type { LocalAddress } from './local-addresses.ts'
import { PathSearch } from './path.ts'
import { isReachable } from './peer-status.ts'
import type { ActualPeer } from './reconcile.ts'

/** Below the half minute after which home routers forget a UDP flow. */
const KEEPALIVE_SECONDS = 25

interface PeerPath {
  known: Known | undefined
  readonly search: PathSearch
}

export interface PathPlan {
  /** To be set now. */
  readonly endpoint: Endpoint | undefined
  readonly keepalive: number
}

export class PeerPaths {
  readonly #fleet: BlockList
  readonly #paths = new Map<NodeId, PeerPath>()
  #local: readonly LocalAddress[] = []

  /** @param fleet the fleet's own ranges. */
  constructor(fleet: BlockList) {
    this.#fleet = fleet
  }

  get known(): Map<NodeId, Known> {
    return new Map([...this.#paths].flatMap(([id, { known }]) => (known === undefined ? [] : [[id, known]])))
  }

  restore(known: ReadonlyMap<NodeId, Known>): void {
    for (const [id, value] of known) this.#learn(id, value)
  }

  /** This machine has other addresses now: another candidate may be the near one. */
  relocate(local: readonly LocalAddress[]): void {
    if (JSON.stringify(local) === JSON.stringify(this.#local)) return
    this.#local = local
    for (const path of this.#paths.values()) this.#offer(path)
  }

  lastSignalAt(id: NodeId): number | undefined {
    return this.#paths.get(id)?.known?.at
  }

  hear(id: NodeId, { endpoints, at }: Signal): void {
    const before = this.#paths.get(id)?.known
    // Elsewhere, the peer is hardly where it was reached last.
    const moved = before === undefined || String(before.endpoints) !== String(endpoints)
    this.#learn(id, { ...(moved ? {} : before), endpoints, at })
  }

  plan(id: NodeId, actual: ActualPeer | undefined, now: number): PathPlan {
    const { search } = this.#path(id)
    const reachable = isReachable(actual, now)
    if (reachable) search.settle()
    return {
      endpoint: reachable ? undefined : search.next(now),
      // Before there is an endpoint, each keepalive would be a handshake to nowhere, and hold up the true one for 5 s.
      keepalive: search.hasCandidates || actual?.endpoint !== undefined ? KEEPALIVE_SECONDS : 0,
    }
  }

  /** The plan's endpoint is set. */
  tried(id: NodeId, now: number): void {
    this.#path(id).search.tried(now)
  }

  /** Remembers where a peer is reached. @returns whether that is new. */
  remember(id: NodeId, actual: ActualPeer, now: number): boolean {
    const path = this.#path(id)
    const endpoint = isReachable(actual, now) ? Endpoint.safeParse(actual.endpoint) : undefined
    if (endpoint?.success !== true || path.known?.worked === endpoint.data) return false
    path.known = { endpoints: [], at: 0, ...path.known, worked: endpoint.data }
    return true
  }

  isSearching(now: number): boolean {
    return [...this.#paths.values()].some(({ search }) => search.isActive(now))
  }

  forgetAllBut(peers: ReadonlyMap<NodeId, unknown>): void {
    for (const id of this.#paths.keys()) if (!peers.has(id)) this.#paths.delete(id)
  }

  #learn(id: NodeId, known: Known): void {
    const path = this.#path(id)
    path.known = known
    this.#offer(path)
  }

  #offer({ known, search }: PeerPath): void {
    if (known === undefined) return
    const { worked, endpoints } = known
    const [first] = worked === undefined ? [] : orderCandidates([worked], this.#local, this.#fleet)
    const others = orderCandidates(endpoints, this.#local, this.#fleet).filter(
      (endpoint) => endpoint !== first,
    )
    search.offer(first === undefined ? others : [first, ...others])
  }

  #path(id: NodeId): PeerPath {
    const existing = this.#paths.get(id)
    if (existing !== undefined) return existing
    const path = { known: undefined, search: new PathSearch() }
    this.#paths.set(id, path)
    return path
  }
}
