/** The peers on the interface: made to follow the map, and read back for those who ask how they are. */
import type { FleetId, NodeId } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import type { Clock } from '../clock.ts'
import { hasAgent } from './agent-peer.ts'
import type { ReachedPeer } from './path-mtu.ts'
import type { PathPlan } from './paths/pair-path.ts'
import type { PathEngine, PathStatus } from './paths/path-engine.ts'
import { peerIpv6 } from './peer-address.ts'
import { isReachable, type PeerStatus, peerStatus } from './peer-status.ts'
import { LAZY_ABOVE, PeerTraffic } from './peer-traffic.ts'
import { type ActualPeer, reconcile } from './reconcile.ts'
import { type RefusedPeer, RefusedPeers } from './refused-peers.ts'
import type { WireGuardDevice } from './wg.ts'

interface Options {
  readonly fleet: FleetId
  readonly device: WireGuardDevice
  readonly paths: PathEngine
  readonly clock: Clock
}

interface Networks {
  networksBehind(id: NodeId): readonly string[]
}

interface Followed {
  readonly reachable: number
  readonly learned: boolean
  readonly refused: readonly RefusedPeer[]
  /** Of the peers that have an agent: one without is reached when it wants to be. */
  readonly pairs: readonly PeerStatus[]
  /** Those that are reached, and where. */
  readonly reached: readonly ReachedPeer[]
}

export class DevicePeers {
  readonly #options: Options
  readonly #refused: RefusedPeers
  readonly #traffic: PeerTraffic
  #endpoints: readonly string[] = []

  constructor(options: Options) {
    this.#options = options
    this.#refused = new RefusedPeers(options.clock)
    this.#traffic = new PeerTraffic(options.clock)
  }

  /** Addresses, without port, by which peers were reached at the last look. */
  get endpoints(): readonly string[] {
    return this.#endpoints
  }

  /** @returns how many are reachable, whether any was reached where it never was before, and which ones `wg` does not take. */
  async follow(peers: readonly MeshPeer[], networks: Networks): Promise<Followed> {
    const { fleet, device, paths, clock } = this.#options
    const actual = await this.#read()
    this.#endpoints = [...actual.values()].flatMap(({ endpoint }) => addressOf(endpoint) ?? [])
    const plans = peers.map((peer) => {
      const found = actual.get(peer.wg)
      const learned = found !== undefined && paths.remember(peer.id, found)
      return { peer, found, learned, ...this.#plan(peer, found, peers.length) }
    })
    this.#traffic.forgetAllBut(new Set(peers.map(({ id }) => id)))
    const desired = plans.map(({ peer, endpoint, reset, keepalive }) => ({
      publicKey: peer.wg,
      allowedIps: [`${peer.ip4}/32`, `${peerIpv6(fleet, peer)}/128`, ...networks.networksBehind(peer.id)],
      endpoint,
      reset,
      keepalive,
    }))
    const steps = reconcile(desired, [...actual.values()])
    const put = this.#refused.select(steps.put)
    this.#refused.note(put, await device.apply({ ...steps, put }))
    for (const { peer, endpoint } of plans) if (endpoint !== undefined) paths.applied(peer.id, endpoint)
    return {
      reachable: plans.filter(({ found }) => isReachable(found, clock.now())).length,
      learned: plans.some(({ learned }) => learned),
      refused: this.#refused.among(peers),
      pairs: plans.filter(({ peer }) => hasAgent(peer)).map(({ peer, found }) => this.#status(peer, found)),
      reached: plans.flatMap(({ peer: { id, ip4 }, found }) => {
        const endpoint = isReachable(found, clock.now()) ? addressOf(found?.endpoint) : undefined
        return endpoint === undefined ? [] : [{ id, ip4, endpoint }]
      }),
    }
  }

  #plan(peer: MeshPeer, found: ActualPeer | undefined, among: number): PathPlan {
    // It says nothing of where it is, and a phone that is switched off would be called for ever.
    if (!hasAgent(peer)) return { endpoint: undefined, reset: false, keepalive: 0 }
    const { paths } = this.#options
    const active = this.#traffic.isActive(peer.id, found)
    if (among > LAZY_ABOVE && !active) return paths.planIdle(peer.id, found)
    return paths.plan(peer.id, found)
  }

  /** Without the interface no peer is reachable. */
  async status(peers: readonly MeshPeer[]): Promise<PeerStatus[]> {
    const actual = await this.#read().catch(() => new Map<string, ActualPeer>())
    return peers.map((peer) => this.#status(peer, actual.get(peer.wg)))
  }

  #status(peer: MeshPeer, found: ActualPeer | undefined): PeerStatus {
    const { fleet, paths, clock } = this.#options
    const reachable = isReachable(found, clock.now())
    const path: PathStatus = hasAgent(peer)
      ? paths.status(peer.id, found, reachable)
      : { path: reachable ? 'direct' : 'none', latencyMs: null, reason: null, hint: null }
    return peerStatus(fleet, peer, found, path)
  }

  async #read(): Promise<Map<string, ActualPeer>> {
    const { peers } = await this.#options.device.read()
    return new Map(peers.map((peer) => [peer.publicKey, peer]))
  }
}

/** Without the port, and without a zone. */
function addressOf(endpoint: string | undefined): string | undefined {
  const [, address] = /^\[?([0-9a-f.:]+)(?:%[^\]]*)?\]?:[0-9]+$/.exec(endpoint ?? '') ?? []
  return address
}
