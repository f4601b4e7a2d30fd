/** The peers on the interface: made to follow the map, and read back for those who ask how they are. */
import type { FleetId } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import type { Clock } from '../clock.ts'
import { peerIpv6 } from './peer-address.ts'
import type { PathPlan, PeerPaths } from './peer-paths.ts'
import { isReachable, type PeerStatus, peerStatus } from './peer-status.ts'
import { LAZY_ABOVE, PeerTraffic } from './peer-traffic.ts'
import { type ActualPeer, reconcile } from './reconcile.ts'
import { type RefusedPeer, RefusedPeers } from './refused-peers.ts'
import type { WireGuardDevice } from './wg.ts'

interface Options {
  readonly fleet: FleetId
  readonly device: WireGuardDevice
  readonly paths: PeerPaths
  readonly clock: Clock
}

interface Followed {
  readonly reachable: number
  readonly learned: boolean
  readonly refused: readonly RefusedPeer[]
  /** Of the peers that have an agent: one without is reached when it wants to be. */
  readonly pairs: readonly PeerStatus[]
}

export class DevicePeers {
  readonly #options: Options
  readonly #refused: RefusedPeers
  readonly #traffic: PeerTraffic

  constructor(options: Options) {
    this.#options = options
    this.#refused = new RefusedPeers(options.clock)
    this.#traffic = new PeerTraffic(options.clock)
  }

  /** @returns how many are reachable, whether any was reached where it never was before, and which ones `wg` does not take. */
  async follow(peers: readonly MeshPeer[]): Promise<Followed> {
    const { fleet, device, paths, clock } = this.#options
    const actual = await this.#read()
    const plans = peers.map((peer) => {
      const found = actual.get(peer.wg)
      const learned = found !== undefined && paths.remember(peer.id, found)
      return { peer, found, learned, ...this.#plan(peer, found, peers.length) }
    })
    this.#traffic.forgetAllBut(new Set(peers.map(({ id }) => id)))
    const desired = plans.map(({ peer, endpoint, keepalive }) => ({
      publicKey: peer.wg,
      allowedIps: [`${peer.ip4}/32`, `${peerIpv6(fleet, peer)}/128`],
      endpoint,
      keepalive,
    }))
    const steps = reconcile(desired, [...actual.values()])
    const put = this.#refused.select(steps.put)
    this.#refused.note(put, await device.apply({ ...steps, put }))
    for (const { peer, endpoint } of plans) if (endpoint !== undefined) paths.tried(peer.id)
    return {
      reachable: plans.filter(({ found }) => isReachable(found, clock.now())).length,
      learned: plans.some(({ learned }) => learned),
      refused: this.#refused.among(peers),
      pairs: plans
        .filter(({ peer }) => peer.seal !== undefined)
        .map(({ peer, found }) => peerStatus(fleet, peer, found, clock.now())),
    }
  }

  #plan(peer: MeshPeer, found: ActualPeer | undefined, among: number): PathPlan {
    const { paths } = this.#options
    const active = this.#traffic.isActive(peer.id, found)
    if (among > LAZY_ABOVE && !active) return paths.planIdle(peer.id, found)
    const plan = paths.plan(peer.id, found)
    // It says nothing of where it is, and a phone that is switched off would be called for ever.
    return peer.seal === undefined ? { ...plan, keepalive: 0 } : plan
  }

  /** Without the interface no peer is reachable. */
  async status(peers: readonly MeshPeer[]): Promise<PeerStatus[]> {
    const { fleet, clock } = this.#options
    const actual = await this.#read().catch(() => new Map<string, ActualPeer>())
    return peers.map((peer) => peerStatus(fleet, peer, actual.get(peer.wg), clock.now()))
  }

  async #read(): Promise<Map<string, ActualPeer>> {
    const { peers } = await this.#options.device.read()
    return new Map(peers.map((peer) => [peer.publicKey, peer]))
  }
}
