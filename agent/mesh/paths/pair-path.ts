/**
 * The path between this node and one peer: what is known of where the peer is, the search by probes or by WireGuard's own means, the relay
 * until there is something better, and what WireGuard is to be told of it all.
 */
import type { EndpointsSignal, Nat } from '../../../crypto/signal.ts'
import { Endpoint, type NodeId } from '../../../protocol/ids.ts'
import type { MeshPeer } from '../../../protocol/mesh.ts'
import type { Clock } from '../../clock.ts'
import type { Known } from '../cache.ts'
import { canonicalEndpoint, splitEndpoint } from '../endpoint-form.ts'
import type { Candidate } from '../endpoints.ts'
import { isReachable } from '../peer-status.ts'
import type { ActualPeer } from '../reconcile.ts'
import type { RelayPaths } from '../relay-paths.ts'
import { PeerPath } from './peer-path.ts'
import { WireGuardSearch } from './wireguard-search.ts'

/** Below the half minute after which home routers forget a UDP flow. */
const KEEPALIVE_SECONDS = 25
/**
 * Two handshakes begun at the same moment undo each other, and WireGuard begins the next one 5 s later. Nodes that hear of each other
 * would do just that, so the one with the greater id lets the other begin.
 */
const YIELD_MS = 1_000
/** Where probes have just found a path, both ends know it within a round trip. */
const YIELD_ON_PATH_MS = 500
/** Probes need a moment before WireGuard tries by itself: what it tries in vain holds up its next try for 5 s. */
const PROBES_FIRST_MS = 1_000
/** The peer may switch later than this node, and packets of the relay are still under way then. */
const DISGUISE_MS = 10_000
/** WireGuard is looked at twice as often while a path is in doubt. */
const HEARD_MS = 2_000
/** Two tries of WireGuard's own. */
const HANDSHAKE_WITHIN_MS = 12_000
/** A peer that gets data answers within WireGuard's ten seconds, if only by a keepalive. */
const DEAF_MS = 15_000
/** More than keepalives and handshakes, which need not be answered, send in that time. */
const DEAF_BYTES = 1_000
/** A path that probes like and WireGuard does not is left alone this long, and twice as long each time. */
const SHUN_FIRST_MS = 10_000
const SHUN_LAST_MS = 5 * 60_000

interface Options {
  readonly self: NodeId
  readonly clock: Pick<Clock, 'now' | 'elapsed'>
  readonly relay: RelayPaths
  /** Whether this node can probe at all. */
  readonly canProbe: () => boolean
  /** Those that are usable from here, the best first. */
  readonly usable: (endpoints: readonly Endpoint[]) => readonly Candidate[]
  /** The interface is to be brought up to date. */
  readonly apply: () => void
  readonly poke: (peer: MeshPeer) => void
  readonly warn: (problem: string) => void
}

export interface PathPlan {
  /** To be set now. */
  readonly endpoint: Endpoint | undefined
  /** Also if the peer has it: WireGuard then forgets by which of its own addresses it went. */
  readonly reset: boolean
  readonly keepalive: number
}

export class PairPath {
  peer: MeshPeer
  readonly path = new PeerPath()
  known: Known | undefined
  /** As far as the peer has told. */
  probes: boolean | undefined
  nat: Nat = 'unknown'
  readonly #options: Options
  readonly #search = new WireGuardSearch()
  /** Where WireGuard was last. */
  #device: Endpoint | undefined
  /** The direct path that is to be used, and the same once WireGuard may be told of it. */
  #target: Endpoint | undefined
  #wanted: Endpoint | undefined
  #wantedSince = 0
  #yieldUntil = Number.NEGATIVE_INFINITY
  #disguiseUntil: number | undefined
  #disguises: Promise<void> = Promise.resolve()
  #resetDue = false
  /** The endpoint of the last plan is one that WireGuard tries by itself. */
  #isTry = false
  #reachable = false
  #idle = false
  #rxBytes = 0
  #rxAt = Number.NEGATIVE_INFINITY
  #txBytesThen = 0
  #shun = SHUN_FIRST_MS

  constructor(peer: MeshPeer, options: Options) {
    this.peer = peer
    this.#options = options
  }

  restore(known: Known): void {
    this.known = known
    this.#offer()
  }

  /** What need not be kept when the endpoints are the same is the time alone. @returns whether they are others, and whether there is something to try. */
  hear({ endpoints, mapped, at, nat, probes }: EndpointsSignal): {
    readonly moved: boolean
    readonly worthTrying: boolean
  } {
    const { self, clock } = this.#options
    const before = this.known
    const moved =
      before === undefined || String([before.endpoints, before.mapped ?? []]) !== String([endpoints, mapped])
    const searching = this.#search.isActive(clock.elapsed())
    // Elsewhere, the peer is hardly where it was reached last.
    this.known = { ...(moved ? {} : before), endpoints, at, ...(mapped.length > 0 && { mapped }) }
    this.probes = probes
    this.nat = nat
    this.#offer(self > this.peer.id ? clock.elapsed() + YIELD_MS : undefined)
    this.path.join(clock.elapsed())
    const woken = this.#search.wake()
    const worthTrying = this.#mayTry(clock.elapsed()) && (moved || (woken && !searching))
    return { moved, worthTrying }
  }

  /** This machine is elsewhere, or has slept: nothing that worked before need work now. */
  relocate({ reset }: { readonly reset: boolean }): void {
    const now = this.#options.clock.elapsed()
    this.#offer()
    if (!reset) return
    this.path.reset(now)
    this.#resetDue = this.#device !== undefined
  }

  /** Remembers where the peer is reached. @returns whether that is new. */
  remember(actual: ActualPeer): boolean {
    const endpoint = isReachable(actual, this.#options.clock.now())
      ? Endpoint.safeParse(actual.endpoint)
      : undefined
    if (endpoint?.success !== true || this.known?.worked === endpoint.data) return false
    if (this.#isRelay(endpoint.data)) return false
    this.known = { endpoints: [], at: 0, ...this.known, worked: endpoint.data }
    return true
  }

  plan(actual: ActualPeer | undefined): PathPlan {
    this.#idle = false
    const now = this.#options.clock.elapsed()
    this.#observe(actual, now)
    if (this.#reachable) this.#search.settle()
    // On an interface that was made anew a peer has none, however lately it was set on the old one.
    else if (actual?.endpoint === undefined) this.#search.restart()
    const reset = this.#resetDue && this.#device !== undefined
    const endpoint = this.#choose(now) ?? (reset ? this.#device : undefined)
    // Without an endpoint each keepalive would be a handshake to nowhere, and hold up the true one for 5 s.
    if ((endpoint ?? actual?.endpoint) === undefined) return { endpoint, reset, keepalive: 0 }
    const yields = now < this.#yieldUntil && !this.#reachable
    return { endpoint, reset, keepalive: yields ? (actual?.keepalive ?? 0) : KEEPALIVE_SECONDS }
  }

  /** Nobody talks to the peer: its first packet may find it, but nothing is sent before. */
  planIdle(actual: ActualPeer | undefined): PathPlan {
    const { endpoint } = this.plan(actual)
    this.#idle = true
    this.#search.settle()
    return { endpoint: actual?.endpoint === undefined ? endpoint : undefined, reset: false, keepalive: 0 }
  }

  /** The plan's endpoint is set. */
  applied(endpoint: Endpoint): void {
    const moved = this.#resetDue || endpoint !== this.#device
    this.#device = endpoint
    this.#resetDue = false
    if (this.#isTry) this.#search.tried(this.#options.clock.elapsed())
    // The peer's WireGuard follows by the first packet that comes from here.
    if (moved && this.#reachable) this.#options.poke(this.peer)
  }

  /** Does what time and the probes have decided. @returns where to ping now. */
  advance(now: number): readonly Endpoint[] {
    if (this.#idle) return []
    const due = this.path.due(now)
    this.path.decide(now, () => now - this.#rxAt < HEARD_MS)
    this.#follow(now)
    if (this.#disguiseUntil !== undefined && now >= this.#disguiseUntil) this.#disguise(undefined)
    if (now >= this.#yieldUntil && this.#yieldUntil > Number.NEGATIVE_INFINITY) {
      this.#yieldUntil = Number.NEGATIVE_INFINITY
      this.#options.apply()
    }
    return due
  }

  nextAt(now: number): number {
    if (this.#idle) return Number.POSITIVE_INFINITY
    const others = [this.#disguiseUntil, this.#yieldUntil].filter(
      (at): at is number => at !== undefined && at > Number.NEGATIVE_INFINITY,
    )
    return Math.min(this.path.nextAt(now), ...others)
  }

  /** Whether WireGuard is to be looked at often. */
  isUnsettled(now: number): boolean {
    if (this.#idle) return false
    if (this.#search.isActive(now) && this.#mayTry(now)) return true
    return this.path.isInDoubt(now) || (this.#wanted !== undefined && !this.#reachable)
  }

  /** What is to be thought of the endpoint that WireGuard has. */
  isRelayed(actual: ActualPeer | undefined): boolean {
    const endpoint = Endpoint.safeParse(actual?.endpoint)
    return endpoint.success && this.#isRelay(endpoint.data)
  }

  get hasCandidates(): boolean {
    return this.path.hasCandidates
  }

  isOwnEndpoint(endpoint: Endpoint): boolean {
    return this.known?.endpoints.some((told) => canonicalEndpoint(told) === endpoint) === true
  }

  #offer(notBefore?: number): void {
    if (this.known === undefined) return
    const { usable, clock } = this.#options
    const { worked, endpoints, mapped = [] } = this.known
    const [first] = worked === undefined ? [] : usable([worked])
    const others = usable([...endpoints, ...mapped]).filter(({ endpoint }) => endpoint !== first?.endpoint)
    const all = first === undefined ? others : [first, ...others]
    this.#search.offer(
      all.map(({ endpoint }) => endpoint),
      notBefore,
    )
    this.path.offer(all, clock.elapsed())
  }

  #choose(now: number): Endpoint | undefined {
    this.#isTry = false
    if (this.#wanted !== undefined) return this.#wanted
    const relayed = this.#options.relay.endpoint(this.peer.id)
    if (this.#mayTry(now) && (relayed === undefined || this.#search.isActive(now))) return this.#tryNext(now)
    if (relayed !== undefined && relayed !== this.#device && !this.#reachable) this.#yield(now)
    return relayed
  }

  #tryNext(now: number): Endpoint | undefined {
    const next = this.#reachable ? undefined : this.#search.next(now)
    this.#isTry = next !== undefined
    return next
  }

  /** Whether WireGuard is to try candidates by itself: only where probes would find nothing. */
  #mayTry(now: number): boolean {
    if (!this.#options.canProbe()) return true
    if (this.probes === true) return false
    const hasRelay = this.#options.relay.endpoint(this.peer.id) !== undefined
    return this.path.silentFor(now) >= PROBES_FIRST_MS && (this.probes === false || !hasRelay)
  }

  #observe(actual: ActualPeer | undefined, now: number): void {
    this.#reachable = isReachable(actual, this.#options.clock.now())
    if (actual === undefined) {
      this.#device = undefined
      return
    }
    if (actual.rxBytes !== this.#rxBytes) {
      this.#rxBytes = actual.rxBytes
      this.#rxAt = now
      this.#txBytesThen = actual.txBytes
    }
    const endpoint = Endpoint.safeParse(actual.endpoint)
    const at = endpoint.success ? endpoint.data : undefined
    const moved = at !== undefined && at !== this.#device && at !== this.#wanted
    this.#device = at
    if (!this.#options.canProbe()) return
    if (moved && this.#reachable) this.#roamed(at, now)
    else if (this.#isDeaf(actual, now)) this.#shunUsed(now)
  }

  /** WireGuard has another endpoint than it was given. */
  #roamed(at: Endpoint, now: number): void {
    if (this.#isRelay(at)) {
      // The peer sends through the relay, though it has had the time to switch: the direct path is none for it.
      if (this.#wanted !== undefined && this.#disguiseUntil === undefined) this.#shunUsed(now)
      return
    }
    const [candidate] = this.#options.usable([at])
    if (candidate === undefined) return
    this.path.adopt(candidate, now)
    this.#follow(now)
  }

  /** Probes go through, and WireGuard does not. Without a relay there is nothing to put in its place. */
  #isDeaf({ txBytes }: ActualPeer, now: number): boolean {
    if (this.#wanted === undefined || this.#options.relay.endpoint(this.peer.id) === undefined) return false
    if (!this.#reachable) return now - this.#wantedSince > HANDSHAKE_WITHIN_MS
    const quiet = now - Math.max(this.#rxAt, this.#wantedSince)
    return quiet > DEAF_MS && txBytes - this.#txBytesThen > DEAF_BYTES
  }

  #shunUsed(now: number): void {
    this.path.abandon(now, this.#shun)
    this.#shun = Math.min(this.#shun * 2, SHUN_LAST_MS)
    this.#follow(now)
  }

  #follow(now: number): void {
    const { used } = this.path
    if (used === this.#target) return
    this.#target = used
    const { relay, apply } = this.#options
    if (used === undefined) {
      this.#wanted = undefined
      this.#disguise(undefined)
      apply()
      return
    }
    const commit = () => {
      if (this.#target !== used) return
      this.#wanted = used
      this.#wantedSince = now
      if (!this.#reachable) this.#yield(now)
      apply()
    }
    if (relay.endpoint(this.peer.id) === undefined) commit()
    else void this.#disguise(used).then(commit)
  }

  #yield(now: number): void {
    if (this.#options.self > this.peer.id) this.#yieldUntil = now + YIELD_ON_PATH_MS
  }

  #disguise(as: Endpoint | undefined): Promise<void> {
    const { relay, clock, warn } = this.#options
    if (as === undefined && this.#disguiseUntil === undefined) return this.#disguises
    this.#disguiseUntil = as === undefined ? undefined : clock.elapsed() + DISGUISE_MS
    this.#disguises = this.#disguises
      .then(() => relay.disguise(this.peer.id, as))
      .catch((error: unknown) => warn(String(error)))
    return this.#disguises
  }

  #isRelay(endpoint: Endpoint): boolean {
    if (endpoint === this.#options.relay.endpoint(this.peer.id)) return true
    const { address } = splitEndpoint(endpoint)
    return address.startsWith('127.') || address === '::1'
  }
}
