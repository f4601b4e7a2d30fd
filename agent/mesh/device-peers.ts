/** The peers on the interface: made to follow the map, and read back for those who ask how they are. */
import type { SecretBytes } from '../../crypto/secret-bytes.ts'
import { nodeIpv6 } from '../../protocol/addresses.ts'
import type { FleetId, NodeId, WireGuardKey } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import type { Clock } from '../clock.ts'
import { hasAgent } from './agent-peer.ts'
import {
  holdersOf,
  type KeySuccession,
  type Listening,
  type Move,
  moveOne,
  prepareMove,
} from './key-succession.ts'
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
  readonly succession: KeySuccession
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
  /** As they were before. */
  readonly psks: readonly FoundPeer[]
}

export interface FoundPeer {
  readonly id: NodeId
  readonly found: ActualPeer | undefined
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
    const { fleet, device, paths, clock, succession } = this.#options
    let actual = await this.#read()
    this.#endpoints = [...actual.values()].flatMap(({ endpoint }) => addressOf(endpoint) ?? [])
    const holders = holdersOf(actual.values())
    const { peers: current, listening } = succession.settle(peers, actual)
    const plans = current.map((peer) => {
      const found = succession.withOldHandshake(
        peer.id,
        holders.get(`${peerIpv6(fleet, peer)}/128`) ?? actual.get(peer.wg),
      )
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
    const moves = plans.flatMap(({ found: from }, index) => {
      const to = desired[index]
      return from === undefined || to === undefined || from.publicKey === to.publicKey ? [] : [{ from, to }]
    })
    for (const move of moves) await moveOne(device, move, actual)
    if (moves.length > 0) actual = await this.#read()
    const steps = reconcile([...desired, ...listening], [...actual.values()])
    const put = this.#refused.select(steps.put)
    this.#refused.note(put, await device.apply({ ...steps, put }))
    await this.#shareWithNext(listening, actual)
    for (const { peer, endpoint } of plans) if (endpoint !== undefined) paths.applied(peer.id, endpoint)
    return {
      reachable: plans.filter(({ found }) => isReachable(found, clock.now())).length,
      learned: plans.some(({ learned }) => learned),
      psks: plans.map(({ peer: { id }, found }) => ({ id, found })),
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

  /** Gives the peer's keys, this and the next one, another pre-shared key. @returns false if the peer is not there. */
  async setPsk({ wg, next }: MeshPeer, psk: SecretBytes | undefined): Promise<boolean> {
    const { device } = this.#options
    const actual = await this.#read()
    const keys = [wg, next].flatMap((key) => (key !== undefined && actual.has(key) ? [key] : []))
    for (const key of keys) await device.setPsk(key, psk)
    return keys.length > 0
  }

  /** A next key that was not there until now is the same node's, and shares what it shares. */
  async #shareWithNext(
    listening: readonly Listening[],
    actual: ReadonlyMap<string, ActualPeer>,
  ): Promise<void> {
    const { device } = this.#options
    for (const { publicKey, current } of listening) {
      if (actual.has(publicKey) || actual.get(current)?.hasPsk !== true) continue
      using psk = await device.readPsk(current)
      await device.setPsk(publicKey, psk)
    }
  }

  /** Makes ready what is to be done in the moment in which this peer changes its key. @returns how to do it. */
  async readyToMove({ id, wg }: MeshPeer, next: WireGuardKey): Promise<() => Promise<void>> {
    const { device, fleet } = this.#options
    const actual = await this.#read()
    const from = holdersOf(actual.values()).get(`${nodeIpv6(fleet, id)}/128`)
    if (from?.publicKey !== wg) return () => Promise.resolve()
    const move: Move = { from, to: { ...from, publicKey: next, endpoint: undefined } }
    return prepareMove(device, move, actual)
  }

  /** Those that were heard of lately. */
  async reachable(peers: readonly MeshPeer[]): Promise<MeshPeer[]> {
    const { clock, succession } = this.#options
    const actual = await this.#read()
    return peers.filter((peer) => isReachable(actual.get(succession.current(peer, actual).wg), clock.now()))
  }

  /** Without the interface no peer is reachable. */
  async status(peers: readonly MeshPeer[]): Promise<PeerStatus[]> {
    const { succession } = this.#options
    const actual = await this.#read().catch(() => new Map<string, ActualPeer>())
    return peers.map((peer) => this.#status(peer, actual.get(succession.current(peer, actual).wg)))
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
