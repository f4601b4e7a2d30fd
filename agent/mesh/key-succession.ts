/**
 * Which WireGuard key of each peer is in force on this interface, while peers change theirs. The map announces the next key beside the one in
 * force, and until the change both are listened to:
 *
 *     announced ──prepare──▶ held ──swapped──▶ moved
 *         │                    └──time, or no gateway──▶ announced
 *         └──handshake by the next key──▶ moved
 *
 * Announced: the next key is a second peer without addresses, so that a node whose word does not reach us is noticed by its handshake. Held: that
 * peer is not there for a moment. A node that has swapped begins a handshake at once; answered before its addresses are moved here, it would send
 * what we have to drop. Unanswered, it keeps its packets until we call, which we do in the command that moves the addresses.
 */
import type { SecretBytes } from '../../crypto/secret-bytes.ts'
import type { NodeId, WireGuardKey } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import type { Clock } from '../clock.ts'
import type { ActualPeer, DesiredPeer } from './reconcile.ts'
import type { WireGuardDevice } from './wg.ts'

/** Longer than a node needs to hear from all its peers (key-handover.ts); after that it has given up, and must be listened to. */
const HOLD_MS = 10_000
/** The interface is looked at every ten seconds at least, and a handshake takes less than two. */
const NEW_KEY_GRACE_MS = 12_000

type Actual = ReadonlyMap<string, ActualPeer>

export interface Listening extends DesiredPeer {
  /** The key of the same node that is in force. */
  readonly current: WireGuardKey
}

interface Settled {
  /** Each with the key that is in force here. */
  readonly peers: readonly MeshPeer[]
  /** Next keys that are only listened to. */
  readonly listening: readonly Listening[]
}

interface Held {
  /** Until when the next key is not listened to. */
  readonly until: number
  readonly move: (() => Promise<void>) | undefined
}

interface Seen {
  readonly publicKey: WireGuardKey
  readonly lastHandshake: number
  readonly at: number
}

export class KeySuccession {
  readonly #clock: Pick<Clock, 'elapsed'>
  readonly #held = new Map<NodeId, Held>()
  readonly #moved = new Map<NodeId, WireGuardKey>()
  /** Of each peer on the interface, at the last look. */
  readonly #seen = new Map<NodeId, Seen>()

  constructor(clock: Pick<Clock, 'elapsed'>) {
    this.#clock = clock
  }

  /** The peer is about to change. @returns whether the map has announced that key here. */
  hold({ id, next }: MeshPeer, key: WireGuardKey): boolean {
    if (next !== key) return false
    this.#held.set(id, { until: this.#clock.elapsed() + HOLD_MS, move: undefined })
    return true
  }

  /** @param move is to be done at once when the peer has changed: until then it can only keep a few packets. */
  ready(id: NodeId, move: () => Promise<void>): void {
    const held = this.#held.get(id)
    if (held !== undefined) this.#held.set(id, { ...held, move })
  }

  /** The peer has changed. @returns whether that key is, or was, announced. */
  async move({ id, wg, next }: MeshPeer, key: WireGuardKey): Promise<boolean> {
    if (next !== key) return wg === key
    const isFirst = this.#moved.get(id) !== key
    this.#moved.set(id, key)
    if (isFirst) await this.#held.get(id)?.move?.()
    return true
  }

  /** Nobody can tell us any more: every next key is listened to. */
  release(): void {
    this.#held.clear()
  }

  forgetAllBut(peers: ReadonlyMap<NodeId, MeshPeer>): void {
    for (const [id, key] of this.#moved) if (peers.get(id)?.next !== key) this.#moved.delete(id)
    for (const id of this.#held.keys()) if (peers.get(id)?.next === undefined) this.#held.delete(id)
  }

  /** Whether a handshake by a next key may come any moment. */
  isListening(peers: Iterable<MeshPeer>): boolean {
    for (const { id, next } of peers) if (next !== undefined && this.#moved.get(id) !== next) return true
    return false
  }

  /** With the key that is in force here in place of the map's. */
  current(peer: MeshPeer, actual: Actual): MeshPeer {
    const { id, next } = peer
    if (next === undefined) return peer
    const found = actual.get(next)
    // Addresses on it: an agent before this one has moved them.
    const isUsed = found !== undefined && (found.lastHandshake > 0 || found.allowedIps.length > 0)
    return isUsed || this.#moved.get(id) === next ? { ...peer, wg: next } : peer
  }

  /** @param peers all that are to be on the interface. */
  settle(peers: readonly MeshPeer[], actual: Actual): Settled {
    const ids = new Set(peers.map(({ id }) => id))
    for (const id of this.#seen.keys()) if (!ids.has(id)) this.#seen.delete(id)
    const current = peers.map((peer) => this.current(peer, actual))
    const now = this.#clock.elapsed()
    const listening = current.flatMap(({ id, wg, next }) =>
      next === undefined || next === wg || (this.#held.get(id)?.until ?? now) > now
        ? []
        : [{ publicKey: next, current: wg, allowedIps: [], keepalive: 0 }],
    )
    return { peers: current, listening }
  }

  /**
   * A key that has just come into force has no handshake yet, and its path is no worse for it: another endpoint now would cost the handshake
   * that is on its way, and WireGuard begins the next one 5 s later.
   */
  withOldHandshake(id: NodeId, found: ActualPeer | undefined): ActualPeer | undefined {
    if (found === undefined) return undefined
    const { publicKey, lastHandshake } = found
    const now = this.#clock.elapsed()
    const before = this.#seen.get(id)
    const isNewKey = before !== undefined && before.publicKey !== publicKey
    if (isNewKey && lastHandshake === 0 && now - before.at < NEW_KEY_GRACE_MS)
      return { ...found, lastHandshake: before.lastHandshake }
    this.#seen.set(id, { publicKey, lastHandshake, at: now })
    return found
  }
}

/** Who holds each address on the interface, whatever key it has: a node's own IPv6 address follows from its id, and is nobody else's. */
export const holdersOf = (actual: Iterable<ActualPeer>): ReadonlyMap<string, ActualPeer> =>
  new Map([...actual].flatMap((peer) => peer.allowedIps.map((address) => [address, peer] as const)))

/** A node that is on the interface under the key before. */
export interface Move {
  readonly from: ActualPeer
  readonly to: DesiredPeer
}

/** One command, because nothing may come between the two halves of a move. What has been learned of the node goes along. */
export async function moveOne(device: WireGuardDevice, move: Move, actual: Actual): Promise<void> {
  using psk = await pskOf(device, move.from)
  await moveWith(device, move, actual, psk)
}

/** What can be done of it beforehand is done. @returns the rest. */
export async function prepareMove(
  device: WireGuardDevice,
  move: Move,
  actual: Actual,
): Promise<() => Promise<void>> {
  const psk = await pskOf(device, move.from)
  return async () => {
    await moveWith(device, move, actual, psk)
    psk?.wipe()
  }
}

function moveWith(device: WireGuardDevice, { from, to }: Move, actual: Actual, psk: SecretBytes | undefined) {
  const endpoint = to.endpoint ?? actual.get(to.publicKey)?.endpoint ?? from.endpoint
  return device.replace(from.publicKey, { ...to, endpoint, psk })
}

const pskOf = (
  device: WireGuardDevice,
  { hasPsk, publicKey }: ActualPeer,
): Promise<SecretBytes | undefined> =>
  hasPsk === true ? device.readPsk(publicKey) : Promise.resolve(undefined)
