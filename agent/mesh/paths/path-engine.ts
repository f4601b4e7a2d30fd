/**
 * The paths to all peers. It owns the socket behind WireGuard's port, hands what comes there to whom it concerns, and sees to it that each
 * peer's search gets its turn. Without nftables there is no such socket; then WireGuard tries the candidates by itself.
 */
import { lookup } from 'node:dns/promises'
import type { BlockList } from 'node:net'
import type { importSealingKey } from '../../../crypto/hpke.ts'
import type { EndpointsSignal, Nat } from '../../../crypto/signal.ts'
import { Endpoint, type FleetId, type NodeId } from '../../../protocol/ids.ts'
import type { MeshPeer } from '../../../protocol/mesh.ts'
import type { Clock, Timer } from '../../clock.ts'
import type { Log } from '../../log.ts'
import type { AgentPeer } from '../agent-peer.ts'
import type { Known } from '../cache.ts'
import { orderCandidates } from '../endpoints.ts'
import { CommandError } from '../exec.ts'
import type { LocalAddress } from '../local-addresses.ts'
import type { ActualPeer } from '../reconcile.ts'
import type { RelayPaths } from '../relay-paths.ts'
import { Agenda } from './agenda.ts'
import { OwnMapping } from './own-mapping.ts'
import { PairPath, type PathPlan } from './pair-path.ts'
import { type Circumstances, PATH_HINTS, type PathReason, pathReason } from './path-reason.ts'
import { ProbeExchange } from './probe-exchange.ts'
import type { ProbePort } from './shared-port.ts'
import { StunClient } from './stun-client.ts'

/** Rules that a firewall's reload has swept away are missed this soon. */
const REASSERT_MS = 30_000
/** Pings of paths that are well, of all peers together: some fifty a second, and for each peer between these bounds. */
const MS_PER_PEER = 20
const SHORTEST_INTERVAL_MS = 3_000
const LONGEST_INTERVAL_MS = 25_000

interface Options {
  readonly fleet: { readonly id: FleetId; readonly ranges: BlockList }
  readonly self: NodeId
  readonly sealingKey: Awaited<ReturnType<typeof importSealingKey>>
  readonly relay: RelayPaths
  /** Undefined where there is to be none. */
  readonly openPort: (() => Promise<ProbePort>) | undefined
  readonly clock: Clock
  readonly log: Log
  /** The interface is to be brought up to date. */
  readonly apply: () => void
  /** This node looks different from outside, or (with an id) this peer is to be told where it is. */
  readonly announce: (peer?: NodeId) => void
}

export type PathKind = 'lan' | 'direct' | 'punched' | 'relay' | 'none'

export interface PathStatus {
  readonly path: PathKind
  /** Round trip of a probe, in ms. */
  readonly latencyMs: number | null
  /** Why there is no direct path. */
  readonly reason: PathReason | null
  readonly hint: string | null
}

/** What is told to the peers of this node. */
export type OwnPlace = Pick<EndpointsSignal, 'endpoints' | 'mapped' | 'nat' | 'probes'>

export class PathEngine {
  readonly #options: Options
  readonly #probes: ProbeExchange
  readonly #stun: StunClient
  readonly #mapping = new OwnMapping()
  readonly #pairs = new Map<NodeId, PairPath>()
  #port: ProbePort | undefined
  #local: readonly LocalAddress[] = []
  #own: readonly Endpoint[] = []
  #stunServers: { own: readonly string[]; gateway: readonly string[] } = { own: [], gateway: [] }
  readonly #agenda: Agenda
  #reassert: Timer | undefined
  #stopped = false

  constructor(options: Options) {
    const { fleet, self, sealingKey, relay, clock } = options
    this.#options = options
    const send = (packet: Uint8Array, to: Endpoint) => this.#port?.send(packet, to)
    this.#probes = new ProbeExchange({ fleet: fleet.id, self, sealingKey, clock, send })
    this.#stun = new StunClient({
      send,
      families: () => this.#port?.families ?? new Set(),
      clock,
      resolve: async (host) => (await lookup(host, { all: true })).map(({ address }) => address),
      onChange: () => options.announce(),
    })
    this.#agenda = new Agenda(clock, (due, now) => this.#run(due, now))
    relay.onChange(() => options.apply())
  }

  /** Takes the port, which is WireGuard's by now. */
  async start(): Promise<void> {
    const { openPort, log } = this.#options
    if (openPort === undefined || this.#port !== undefined || this.#stopped) return
    try {
      this.#port = await openPort()
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      const why = error.message
      log.warn('no nftables: paths are tried by WireGuard alone, one after the other', { why })
      return
    }
    this.#port.onPacket((packet, from) => void this.#receive(packet, from))
    this.#watchRules()
    this.#useStunServers()
    for (const pair of this.#pairs.values()) pair.relocate({ reset: true })
    this.#touchAll()
    this.#agenda.start()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#agenda.stop()
    this.#reassert?.cancel()
    this.#stun.stop()
    const port = this.#port
    this.#port = undefined
    try {
      await port?.close()
    } catch (error) {
      this.#options.log.warn('the rules of the shared port could not be removed', { problem: String(error) })
    }
  }

  /** `host:port` each, of this node's own configuration or as the gateway says; the former count. */
  useStun(servers: Partial<{ own: readonly string[]; gateway: readonly string[] }>): void {
    this.#stunServers = { ...this.#stunServers, ...servers }
    if (this.#port !== undefined) this.#useStunServers()
  }

  get known(): Map<NodeId, Known> {
    return new Map([...this.#pairs].flatMap(([id, { known }]) => (known === undefined ? [] : [[id, known]])))
  }

  /** Pairs of the cache, before there are any others. */
  setPeers(peers: ReadonlyMap<NodeId, AgentPeer>, known: ReadonlyMap<NodeId, Known> = new Map()): void {
    for (const id of this.#pairs.keys()) {
      if (peers.has(id)) continue
      this.#pairs.delete(id)
      this.#agenda.delete(id)
    }
    this.#mapping.forgetAllBut(peers)
    this.#probes.setPeers(peers)
    for (const [id, peer] of peers) {
      const pair = this.#pairs.get(id)
      if (pair === undefined) this.#pairs.set(id, this.#newPair(peer))
      else pair.peer = peer
      const before = known.get(id)
      if (before !== undefined) this.#pairs.get(id)?.restore(before)
    }
    const interval = Math.min(Math.max(peers.size * MS_PER_PEER, SHORTEST_INTERVAL_MS), LONGEST_INTERVAL_MS)
    for (const { path } of this.#pairs.values()) path.interval = interval
    this.#touchAll()
  }

  /** This machine's addresses, and the endpoints that follow from them. */
  relocate(local: readonly LocalAddress[], own: readonly Endpoint[]): void {
    if (JSON.stringify([local, own]) === JSON.stringify([this.#local, this.#own])) return
    const first = this.#local.length === 0
    this.#local = local
    this.#own = own
    if (first) for (const pair of this.#pairs.values()) pair.relocate({ reset: false })
    else this.moved()
    this.#touchAll()
  }

  /** The network of this machine has changed, or it has slept: nothing that worked before need work now. */
  moved(): void {
    this.#mapping.reset()
    if (this.#port !== undefined) this.#stun.reset()
    for (const pair of this.#pairs.values()) pair.relocate({ reset: true })
    this.#options.apply()
    this.#touchAll()
  }

  get place(): OwnPlace {
    const [own, stun] = [this.#ownSet(), this.#stunResult()]
    return {
      endpoints: [...this.#own],
      mapped: this.#mapping.mapped(own, stun),
      nat: this.#mapping.nat(own, stun),
      probes: this.#port !== undefined,
    }
  }

  lastSignalAt(id: NodeId): number | undefined {
    return this.#pairs.get(id)?.known?.at
  }

  /** @returns whether the peer is elsewhere, and whether there is something to try at once. */
  hear(id: NodeId, signal: EndpointsSignal): { readonly moved: boolean; readonly worthTrying: boolean } {
    const pair = this.#pairs.get(id)
    if (pair === undefined) return { moved: false, worthTrying: false }
    const heard = pair.hear(signal)
    this.#touch(pair)
    return heard
  }

  remember(id: NodeId, actual: ActualPeer): boolean {
    return this.#pairs.get(id)?.remember(actual) ?? false
  }

  plan(id: NodeId, actual: ActualPeer | undefined): PathPlan {
    const pair = this.#pairs.get(id)
    if (pair === undefined) return { endpoint: undefined, reset: false, keepalive: 0 }
    const plan = pair.plan(actual)
    this.#touch(pair)
    return plan
  }

  /** For a peer that nobody talks to: WireGuard may call it, but it is not looked for, and nothing keeps the way to it open. */
  planIdle(id: NodeId, actual: ActualPeer | undefined): PathPlan {
    const plan = this.#pairs.get(id)?.planIdle(actual)
    return plan ?? { endpoint: undefined, reset: false, keepalive: 0 }
  }

  applied(id: NodeId, endpoint: Endpoint): void {
    this.#pairs.get(id)?.applied(endpoint)
  }

  isUnsettled(): boolean {
    const now = this.#options.clock.elapsed()
    return [...this.#pairs.values()].some((pair) => pair.isUnsettled(now))
  }

  status(id: NodeId, actual: ActualPeer | undefined, reachable: boolean): PathStatus {
    const pair = this.#pairs.get(id)
    const endpoint = Endpoint.safeParse(actual?.endpoint)
    const path = !reachable || pair === undefined ? 'none' : this.#kindOf(pair, actual, endpoint.data)
    const isDirect = path !== 'none' && path !== 'relay'
    const reason = isDirect || pair === undefined ? null : pathReason(this.#circumstances(pair))
    const rtt = isDirect ? pair?.path.rtt : undefined
    return {
      path,
      latencyMs: rtt === undefined ? null : Math.round(rtt * 100) / 100,
      reason,
      hint: reason === null ? null : PATH_HINTS[reason],
    }
  }

  #kindOf(pair: PairPath, actual: ActualPeer | undefined, endpoint: Endpoint | undefined): PathKind {
    if (pair.isRelayed(actual)) return 'relay'
    const [candidate] = endpoint === undefined ? [] : this.#usable([endpoint])
    if (candidate?.nearness === 'lan') return 'lan'
    if (endpoint === undefined || pair.isOwnEndpoint(endpoint)) return 'direct'
    return this.#mapping.isMappedFor(pair.peer.id, this.#ownSet()) === true ? 'punched' : 'direct'
  }

  #circumstances(pair: PairPath): Circumstances {
    const now = this.#options.clock.elapsed()
    const anyAnswers = [...this.#pairs.values()].some(({ path }) => path.isAnswering(now))
    return {
      probes: this.#port !== undefined,
      peerProbes: pair.probes,
      hasCandidates: pair.hasCandidates,
      isSearching: pair.path.isSearching,
      isAnswering: pair.path.isAnswering(now),
      isUdpSilent: this.#stun.isSilent && !anyAnswers,
      nat: this.place.nat,
      peerNat: pair.nat,
    }
  }

  #newPair(peer: MeshPeer): PairPath {
    const { self, clock, relay, apply, log } = this.#options
    return new PairPath(peer, {
      self,
      clock,
      relay,
      canProbe: () => this.#port !== undefined,
      usable: (endpoints) => this.#usable(endpoints),
      apply,
      poke: ({ ip4 }) => this.#port?.poke(ip4),
      warn: (problem) => log.warn('packets of the relay could not be disguised', { peer: peer.id, problem }),
    })
  }

  #usable(endpoints: readonly Endpoint[]) {
    return orderCandidates(endpoints, this.#local, this.#options.fleet.ranges)
  }

  #ownSet(): ReadonlySet<Endpoint> {
    return new Set(this.#own)
  }

  #stunResult(): { readonly mapped: readonly Endpoint[]; readonly nat: Nat } {
    return { mapped: this.#stun.mapped, nat: this.#stun.natOf(this.#ownSet()) }
  }

  #useStunServers(): void {
    const { own, gateway } = this.#stunServers
    this.#stun.use(own.length > 0 ? own : gateway)
  }

  async #receive(packet: Uint8Array, from: Endpoint): Promise<void> {
    if (this.#stun.receive(packet, from)) return
    const heard = await this.#probes.receive(packet, from)
    const pair = heard && this.#pairs.get(heard.peer)
    if (heard === undefined || pair === undefined) return
    const now = this.#options.clock.elapsed()
    if (heard.kind === 'pong') {
      pair.path.heardPong(from, heard.rtt, now)
      if (this.#mapping.report(heard.peer, heard.observed)) this.#seenAnew(heard.observed)
    } else {
      const [candidate] = this.#usable([from])
      if (candidate !== undefined) pair.path.heardPing(candidate, now)
    }
    this.#advance(pair, now)
  }

  /** A peer has seen this node where nobody has before. */
  #seenAnew(observed: Endpoint): void {
    if (this.#own.includes(observed) || this.#stun.mapped.includes(observed)) return
    this.#stun.again()
    this.#options.announce()
  }

  #advance(pair: PairPath, now: number): void {
    for (const endpoint of pair.advance(now)) void this.#probes.ping(pair.peer.id, endpoint)
    this.#touch(pair, now)
  }

  #touch(pair: PairPath, now = this.#options.clock.elapsed()): void {
    this.#agenda.set(pair.peer.id, pair.nextAt(now))
  }

  #touchAll(): void {
    const now = this.#options.clock.elapsed()
    for (const pair of this.#pairs.values()) this.#touch(pair, now)
  }

  #run(due: readonly NodeId[], now: number): void {
    let doubt = false
    for (const id of due) {
      const pair = this.#pairs.get(id)
      if (pair === undefined) continue
      if (pair.path.takeRetry(now)) this.#options.announce(id)
      this.#advance(pair, now)
      doubt ||= pair.path.isInDoubt(now)
    }
    // Whether WireGuard still hears the peer is worth knowing before the path is given up.
    if (doubt) this.#options.apply()
  }

  #watchRules(): void {
    const { clock, log } = this.#options
    this.#reassert = clock.after(REASSERT_MS, () => {
      const port = this.#port
      if (port === undefined) return
      port
        .reassert()
        .then((gone) => {
          if (gone) log.warn('somebody took the rules of the shared port away; they are back')
        })
        .catch((error: unknown) =>
          log.warn('the rules of the shared port are lost', { problem: String(error) }),
        )
        .finally(() => {
          if (!this.#stopped) this.#watchRules()
        })
    })
  }
}
