/** The peers on the interface: made to follow the map, and read back for those who ask how they are. */
import { nodeIpv6 } from '../../protocol/addresses.ts'
import type { FleetId } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import type { Clock } from '../clock.ts'
import type { PeerPaths } from './peer-paths.ts'
import { isReachable, type PeerStatus, peerStatus } from './peer-status.ts'
import { type ActualPeer, reconcile } from './reconcile.ts'
import type { WireGuardDevice } from './wg.ts'

interface Options {
  readonly fleet: FleetId
  readonly device: WireGuardDevice
  readonly paths: PeerPaths
  readonly clock: Clock
}

export class DevicePeers {
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
  }

  /** @returns how many are reachable, and whether any was reached where it never was before. */
  async follow(
    peers: readonly MeshPeer[],
  ): Promise<{ readonly reachable: number; readonly learned: boolean }> {
    const { fleet, device, paths, clock } = this.#options
    const actual = await this.#read()
    const plans = peers.map((peer) => {
      const found = actual.get(peer.wg)
      const learned = found !== undefined && paths.remember(peer.id, found)
      return { peer, found, learned, ...paths.plan(peer.id, found) }
    })
    const desired = plans.map(({ peer, endpoint, keepalive }) => ({
      publicKey: peer.wg,
      allowedIps: [`${peer.ip4}/32`, `${nodeIpv6(fleet, peer.id)}/128`],
      endpoint,
      keepalive,
    }))
    await device.apply(reconcile(desired, [...actual.values()]))
    for (const { peer, endpoint } of plans) if (endpoint !== undefined) paths.tried(peer.id)
    return {
      reachable: plans.filter(({ found }) => isReachable(found, clock.now())).length,
      learned: plans.some(({ learned }) => learned),
    }
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
