/**
 * How large a packet to each peer may be. Whenever a peer is reached by another endpoint, packets of many sizes are sent through the tunnel at
 * once, and the largest that arrives is the answer: one round trip where all is well, some seconds where large ones are swallowed. What was
 * found is looked at again now and then, because a path may change under an endpoint that does not.
 */
import type { Ipv4, NodeId } from '../../protocol/ids.ts'
import type { Clock } from '../clock.ts'
import { INTERFACE_MTU } from './interface.ts'
import type { MtuProbe } from './mtu-probe.ts'

/**
 * For paths of 1500, 1492 (PPPoE), 1460 (clouds), 1400 (tunnels), 1280 (IPv6's least) and 1124 bytes, over IPv4 and IPv6. In whole blocks of 16,
 * because WireGuard pads what is smaller than its interface to those.
 */
const SIZES = [INTERFACE_MTU, 1408, 1392, 1376, 1328, 1312, 1280, 1216, 1200, 1040]
/** Passes everywhere: who does not answer it answers none. */
const SMALL = 100
const ROUNDS = 3
const LOOK_AGAIN_MS = 5 * 60_000
/** Each costs a datagram of every size. */
const AT_ONCE = 8

export interface ReachedPeer {
  readonly id: NodeId
  readonly ip4: Ipv4
  /** Without its port. */
  readonly endpoint: string
}

interface Options {
  readonly clock: Clock
  readonly probe: Pick<MtuProbe, 'ask'>
  /** What the machine knows by itself. */
  readonly known: (endpoint: string) => Promise<number | undefined>
  /** Makes the routes as `mtuOf` says; resolves when they are. */
  readonly apply: () => Promise<void>
}

interface Path {
  readonly endpoint: string
  /** Undefined: the interface's own. */
  mtu: number | undefined
  lookAt: number
  isBusy: boolean
}

export class PathMtu {
  readonly #options: Options
  readonly #paths = new Map<NodeId, Path>()
  #busy = 0

  constructor(options: Options) {
    this.#options = options
  }

  /** Undefined: the interface's own. */
  mtuOf(id: NodeId): number | undefined {
    return this.#paths.get(id)?.mtu
  }

  /** Call at each look with all peers that are reached. What is found out makes itself heard by `apply`. */
  follow(peers: readonly ReachedPeer[], known: ReadonlySet<NodeId>): void {
    for (const id of this.#paths.keys()) if (!known.has(id)) this.#paths.delete(id)
    const now = this.#options.clock.elapsed()
    for (const peer of peers) {
      if (this.#busy >= AT_ONCE) return
      const before = this.#paths.get(peer.id)
      const isNew = before?.endpoint !== peer.endpoint
      if (!isNew && (before.isBusy || now < before.lookAt)) continue
      // A smaller one of before holds until the new way has shown what it carries.
      const path = isNew ? { endpoint: peer.endpoint, mtu: before?.mtu, lookAt: 0, isBusy: false } : before
      this.#paths.set(peer.id, path)
      void this.#look(peer, path, isNew)
    }
  }

  async #look(peer: ReachedPeer, path: Path, isNew: boolean): Promise<void> {
    const { clock, apply } = this.#options
    path.isBusy = true
    this.#busy++
    try {
      const before = path.mtu
      // A packet larger than its route says would be cut, and prove nothing.
      if (isNew && path.mtu !== undefined) {
        path.mtu = undefined
        await apply()
      }
      path.mtu = await this.#measure(peer, path.mtu ?? INTERFACE_MTU)
      if (path.mtu !== before || isNew) await apply()
    } finally {
      path.isBusy = false
      path.lookAt = clock.elapsed() + LOOK_AGAIN_MS
      this.#busy--
    }
  }

  async #measure({ ip4, endpoint }: ReachedPeer, ceiling: number): Promise<number | undefined> {
    const { probe, known } = this.#options
    const limit = Math.min(ceiling, (await known(endpoint)) ?? ceiling)
    const sizes = [...new Set([limit, ...SIZES.filter((size) => size < limit)])]
    let best = 0
    let isAnswered = false
    for (let round = 0; round < ROUNDS && best < limit; round++) {
      const arrived = await probe.ask(ip4, [...sizes.filter((size) => size > best), SMALL])
      isAnswered ||= arrived.size > 0
      best = Math.max(best, ...[...arrived].filter((size) => size !== SMALL))
    }
    // The questions themselves may have told this machine more: then it cuts what is too large, and all of it has arrived.
    const told = (await known(endpoint)) ?? ceiling
    const found = Math.min(isAnswered ? Math.max(best, Math.min(...SIZES)) : limit, told)
    return found >= INTERFACE_MTU ? undefined : found
  }
}
