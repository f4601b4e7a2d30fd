/** What is known of where each peer is, and how far the search for a path to it has come. */
import type { BlockList } from 'node:net'
import type { Signal } from '../../crypto/signal.ts'
import { Endpoint, type NodeId } from '../../protocol/ids.ts'
import type { Clock } from '../clock.ts'
import type { Known } from './cache.ts'
import { orderCandidates } from './endpoints.ts'
import type { LocalAddress } from './local-addresses.ts'
import { PathSearch } from './path.ts'
import { isReachable } from './peer-status.ts'
import type { ActualPeer } from './reconcile.ts'

/** Below the half minute after which home routers forget a UDP flow. */
const KEEPALIVE_SECONDS = 25
/**
 * Two handshakes begun at the same moment undo each other, and WireGuard begins the next one 5 s later. Nodes that hear of each other
 * would do just that, so the one with the greater id lets the other begin.
 */
const YIELD_MS = 1_000

interface Options {
  readonly self: NodeId
  /** The fleet's own ranges. */
  readonly fleet: BlockList
  readonly clock: Clock
}

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
  readonly #options: Options
  readonly #paths = new Map<NodeId, PeerPath>()
  #local: readonly LocalAddress[] = []

  constructor(options: Options) {
    this.#options = options
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

  /**
   * What need not be kept when the endpoints are the same is the time alone: whoever repeats that signal after a restart says nothing new.
   * @returns whether the endpoints are others, and whether there is something to try at once.
   */
  hear(id: NodeId, { endpoints, at }: Signal): { readonly moved: boolean; readonly worthTrying: boolean } {
    const before = this.#paths.get(id)?.known
    // Elsewhere, the peer is hardly where it was reached last.
    const moved = before === undefined || String(before.endpoints) !== String(endpoints)
    const { self, clock } = this.#options
    const { search } = this.#path(id)
    // During a search somebody looks every second anyway.
    const searching = search.isActive(clock.elapsed())
    const notBefore = self > id ? clock.elapsed() + YIELD_MS : undefined
    this.#learn(id, { ...(moved ? {} : before), endpoints, at }, notBefore)
    const woken = search.wake()
    return { moved, worthTrying: moved || (woken && !searching) }
  }

  plan(id: NodeId, actual: ActualPeer | undefined): PathPlan {
    const { clock } = this.#options
    const { search } = this.#path(id)
    const reachable = isReachable(actual, clock.now())
    if (reachable) search.settle()
    // On an interface that was made anew a peer has none, however lately it was set on the old one.
    else if (actual?.endpoint === undefined) search.restart()
    const endpoint = reachable ? undefined : search.next(clock.elapsed())
    // Without an endpoint each keepalive would be a handshake to nowhere, and hold up the true one for 5 s.
    return { endpoint, keepalive: (endpoint ?? actual?.endpoint) === undefined ? 0 : KEEPALIVE_SECONDS }
  }

  /** For a peer that nobody talks to: WireGuard may call it, but it is not looked for, and nothing keeps the way to it open. */
  planIdle(id: NodeId, actual: ActualPeer | undefined): PathPlan {
    const { search } = this.#path(id)
    search.settle()
    return { endpoint: actual?.endpoint === undefined ? search.first : undefined, keepalive: 0 }
  }

  /** The plan's endpoint is set. */
  tried(id: NodeId): void {
    this.#path(id).search.tried(this.#options.clock.elapsed())
  }

  /** Remembers where a peer is reached. @returns whether that is new. */
  remember(id: NodeId, actual: ActualPeer): boolean {
    const path = this.#path(id)
    const reachable = isReachable(actual, this.#options.clock.now())
    const endpoint = reachable ? Endpoint.safeParse(actual.endpoint) : undefined
    if (endpoint?.success !== true || path.known?.worked === endpoint.data) return false
    path.known = { endpoints: [], at: 0, ...path.known, worked: endpoint.data }
    return true
  }

  isSearching(): boolean {
    const now = this.#options.clock.elapsed()
    return [...this.#paths.values()].some(({ search }) => search.isActive(now))
  }

  forgetAllBut(peers: ReadonlyMap<NodeId, unknown>): void {
    for (const id of this.#paths.keys()) if (!peers.has(id)) this.#paths.delete(id)
  }

  #learn(id: NodeId, known: Known, notBefore?: number): void {
    const path = this.#path(id)
    path.known = known
    this.#offer(path, notBefore)
  }

  #offer({ known, search }: PeerPath, notBefore?: number): void {
    if (known === undefined) return
    const { fleet } = this.#options
    const { worked, endpoints } = known
    const [first] = worked === undefined ? [] : orderCandidates([worked], this.#local, fleet)
    const others = orderCandidates(endpoints, this.#local, fleet).filter((endpoint) => endpoint !== first)
    search.offer(first === undefined ? others : [first, ...others], notBefore)
  }

  #path(id: NodeId): PeerPath {
    const existing = this.#paths.get(id)
    if (existing !== undefined) return existing
    const path = { known: undefined, search: new PathSearch() }
    this.#paths.set(id, path)
    return path
  }
}
