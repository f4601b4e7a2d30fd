/** The peers on the interface: made to follow the map, and read back for those who ask how they are. */
import { nodeIpv6 } from '../../protocol/addresses.ts'
import type { FleetId, NodeId } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import type { Clock } from '../clock.ts'
import type { ReachedPeer } from './path-mtu.ts'
import type { PathEngine } from './paths/path-engine.ts'
import { isReachable, type PeerStatus, peerStatus } from './peer-status.ts'
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
  /** Those that are reached, and where. */
  readonly reached: readonly ReachedPeer[]
}

export class DevicePeers {
  readonly #options: Options
  readonly #refused: RefusedPeers
  #endpoints: readonly string[] = []

  constructor(options: Options) {
    this.#options = options
    this.#refused = new RefusedPeers(options.clock)
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
      return { peer, found, learned, ...paths.plan(peer.id, found) }
    })
    const desired = plans.map(({ peer, endpoint, reset, keepalive }) => ({
      publicKey: peer.wg,
      allowedIps: [`${peer.ip4}/32`, `${nodeIpv6(fleet, peer.id)}/128`, ...networks.networksBehind(peer.id)],
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
      reached: plans.flatMap(({ peer: { id, ip4 }, found }) => {
        const endpoint = isReachable(found, clock.now()) ? addressOf(found?.endpoint) : undefined
        return endpoint === undefined ? [] : [{ id, ip4, endpoint }]
      }),
    }
  }

  /** Without the interface no peer is reachable. */
  async status(peers: readonly MeshPeer[]): Promise<PeerStatus[]> {
    const { fleet, paths, clock } = this.#options
    const actual = await this.#read().catch(() => new Map<string, ActualPeer>())
    return peers.map((peer) => {
      const found = actual.get(peer.wg)
      return peerStatus(fleet, peer, found, paths.status(peer.id, found, isReachable(found, clock.now())))
    })
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
