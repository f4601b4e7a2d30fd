/**
 * The mesh map as this node has it: a copy of the gateway's at one place of its change log. It goes forward only by changes that start
 * exactly there; anything else is a repetition, or a gap that asks for a resync.
 */
import * as z from 'zod'
import { meshHash, sumOfPeers } from '../../crypto/mesh-hash.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { type MeshChanges, MeshPeer, MeshPosition, MeshRule } from '../../protocol/mesh.ts'

export type FoldResult = 'applied' | 'duplicate' | 'gap'

const Stored = z.strictObject({
  position: MeshPosition.optional(),
  peers: z.array(MeshPeer),
  rules: z.array(MeshRule).nullable().optional(),
})
type Stored = z.infer<typeof Stored>

/** What peers may send to this node. Null: there is no policy, and they may send everything. */
export type MeshRules = readonly MeshRule[] | null

interface Snapshot {
  readonly position: MeshPosition
  readonly peers: Map<NodeId, MeshPeer>
  /** Undefined until a part says them; if none does, they are what they were. */
  rules?: MeshRules
}

export class MeshMap {
  #position: MeshPosition | undefined
  #peers: ReadonlyMap<NodeId, MeshPeer> = new Map()
  #rules: MeshRules = null
  #hashed: { readonly peers: unknown; readonly rules: unknown; readonly hash: string } | undefined
  /** The parts of a snapshot that have come so far. Until the last one the old map stays in force. */
  #snapshot: Snapshot | undefined
  /** The parts of one delta that have come so far: it takes effect as a whole. */
  #parts: MeshChanges[] = []

  /** Undefined until the first snapshot. */
  get position(): MeshPosition | undefined {
    return this.#position
  }

  /** Never changes: each fold that changes the map gives a new one. */
  get peers(): ReadonlyMap<NodeId, MeshPeer> {
    return this.#peers
  }

  get rules(): MeshRules {
    return this.#rules
  }

  /** By which the gateway knows whether this is the map it means. */
  get hash(): string {
    const [peers, rules] = [this.#peers, this.#rules]
    if (this.#hashed?.peers !== peers || this.#hashed.rules !== rules)
      this.#hashed = { peers, rules, hash: meshHash(sumOfPeers(peers.values()), rules) }
    return this.#hashed.hash
  }

  fold(changes: MeshChanges): FoldResult {
    const { epoch, from, to } = changes
    if (from === undefined) return this.#foldSnapshot(changes)
    if (this.#position?.epoch !== epoch) return 'gap'
    if (this.#position.seq !== from) return to <= this.#position.seq ? 'duplicate' : 'gap'
    const parts = this.#parts.filter((part) => part.epoch === epoch && part.from === from && part.to === to)
    this.#parts = changes.more === undefined ? [] : [...parts, changes]
    if (changes.more !== undefined) return 'applied'
    const all = [...parts, changes]
    // What says nothing of peers leaves the map as it is, and costs no look at the interface.
    if (all.some(({ put, del }) => (put ?? del) !== undefined)) {
      const peers = new Map(this.#peers)
      for (const part of all) change(peers, part)
      this.#peers = peers
    }
    if (changes.rules !== undefined) this.#rules = changes.rules
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
      this.#snapshot = { position, peers: new Map() }
    }
    change(this.#snapshot.peers, changes)
    if (changes.rules !== undefined) this.#snapshot.rules = changes.rules
    if (changes.more === undefined) {
      this.#position = position
      this.#peers = this.#snapshot.peers
      if (this.#snapshot.rules !== undefined) this.#rules = this.#snapshot.rules
      this.#snapshot = undefined
    }
    return 'applied'
  }

  toJSON(): Stored {
    return {
      ...(this.#position && { position: this.#position }),
      peers: [...this.#peers.values()],
      ...(this.#rules !== null && { rules: [...this.#rules] }),
    }
  }

  /** Undefined if it is not a map that `toJSON` gave. */
  static parse(stored: unknown): MeshMap | undefined {
    const parsed = Stored.safeParse(stored)
    if (!parsed.success) return undefined
    const map = new MeshMap()
    map.#position = parsed.data.position
    map.#peers = new Map(parsed.data.peers.map((peer) => [peer.id, peer]))
    map.#rules = parsed.data.rules ?? null
    return map
  }
}

function change(peers: Map<NodeId, MeshPeer>, { put = [], del = [] }: MeshChanges): void {
  for (const id of del) peers.delete(id)
  for (const peer of put) peers.set(peer.id, peer)
}

const samePosition = (a: MeshPosition, b: MeshPosition): boolean => a.epoch === b.epoch && a.seq === b.seq
