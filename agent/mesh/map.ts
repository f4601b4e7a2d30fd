/**
 * The mesh map as this node has it: a copy of the gateway's at one place of its change log. It goes forward only by changes that start
 * exactly there; anything else is a repetition, or a gap that asks for a resync.
 */
import * as z from 'zod'
import { addPeer, type MeshSum, meshHash, sumOfPeers, takePeer } from '../../crypto/mesh-hash.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { type MeshChanges, MeshPeer, MeshPosition, MeshRule } from '../../protocol/mesh.ts'

export type FoldResult = 'applied' | 'duplicate' | 'gap'

const Rules = z.array(MeshRule).nullable()
const Stored = z.strictObject({
  position: MeshPosition.optional(),
  peers: z.array(MeshPeer),
  rules: Rules.optional(),
})
type Stored = z.infer<typeof Stored>

type Rules = z.infer<typeof Rules>

interface Snapshot {
  readonly position: MeshPosition
  readonly peers: Map<NodeId, MeshPeer>
  rules: Rules
}

export class MeshMap {
  #position: MeshPosition | undefined
  #peers: ReadonlyMap<NodeId, MeshPeer> = new Map()
  /** Null: there is no policy. */
  #rules: Rules = null
  #sum: MeshSum = 0n
  #hash: string | undefined
  /** The parts of a snapshot that have come so far. Until the last one the old map stays in force. */
  #snapshot: Snapshot | undefined

  /** Undefined until the first snapshot. */
  get position(): MeshPosition | undefined {
    return this.#position
  }

  /** Never changes: each fold that changes the map gives a new one. */
  get peers(): ReadonlyMap<NodeId, MeshPeer> {
    return this.#peers
  }

  /** By which the gateway knows whether this is the map it means. */
  get hash(): string {
    this.#hash ??= meshHash(this.#sum, this.#rules)
    return this.#hash
  }

  fold(changes: MeshChanges): FoldResult {
    const { epoch, from, to } = changes
    if (from === undefined) return this.#foldSnapshot(changes)
    if (this.#position?.epoch !== epoch) return 'gap'
    if (this.#position.seq !== from) return to <= this.#position.seq ? 'duplicate' : 'gap'
    const { put = [], del = [], rules } = changes
    if (put.length + del.length > 0) {
      const peers = new Map(this.#peers)
      change(peers, changes)
      this.#sum = sumAfter(this.#sum, this.#peers, peers, changes)
      this.#peers = peers
    }
    if (rules !== undefined) this.#rules = rules
    this.#hash = undefined
    this.#position = { epoch, seq: to }
    return 'applied'
  }

  /**
   * Parts of one snapshot share their position. A new one with the same position is the same map, so what remains of an interrupted
   * one does no harm; with another position it begins anew.
   */
  #foldSnapshot(changes: MeshChanges): FoldResult {
    const position = { epoch: changes.epoch, seq: changes.to }
    if (this.#snapshot === undefined || !samePosition(this.#snapshot.position, position)) {
      this.#snapshot = { position, peers: new Map(), rules: null }
    }
    change(this.#snapshot.peers, changes)
    if (changes.rules !== undefined) this.#snapshot.rules = changes.rules
    if (changes.more === undefined) {
      this.#position = position
      this.#become(this.#snapshot.peers, this.#snapshot.rules)
      this.#snapshot = undefined
    }
    return 'applied'
  }

  #become(peers: ReadonlyMap<NodeId, MeshPeer>, rules: Rules): void {
    this.#peers = peers
    this.#rules = rules
    this.#sum = sumOfPeers(peers.values())
    this.#hash = undefined
  }

  toJSON(): Stored {
    return {
      ...(this.#position && { position: this.#position }),
      peers: [...this.#peers.values()],
      ...(this.#rules && { rules: this.#rules }),
    }
  }

  /** Undefined if it is not a map that `toJSON` gave. */
  static parse(stored: unknown): MeshMap | undefined {
    const parsed = Stored.safeParse(stored)
    if (!parsed.success) return undefined
    const map = new MeshMap()
    map.#position = parsed.data.position
    const { peers, rules = null } = parsed.data
    map.#become(new Map(peers.map((peer) => [peer.id, peer])), rules)
    return map
  }
}

function change(peers: Map<NodeId, MeshPeer>, { put = [], del = [] }: MeshChanges): void {
  for (const id of del) peers.delete(id)
  for (const peer of put) peers.set(peer.id, peer)
}

/** Of the peers as they are after the change. */
function sumAfter(
  sum: MeshSum,
  before: ReadonlyMap<NodeId, MeshPeer>,
  after: ReadonlyMap<NodeId, MeshPeer>,
  { put = [], del = [] }: MeshChanges,
): MeshSum {
  let changed = sum
  for (const id of new Set([...del, ...put.map((peer) => peer.id)])) {
    const [old, now] = [before.get(id), after.get(id)]
    if (old !== undefined) changed = takePeer(changed, old)
    if (now !== undefined) changed = addPeer(changed, now)
  }
  return changed
}

const samePosition = (a: MeshPosition, b: MeshPosition): boolean => a.epoch === b.epoch && a.seq === b.seq
