/**
 * The mesh map as this node has it: a copy of the gateway's at one place of its change log. It goes forward only by changes that start
 * exactly there; anything else is a repetition, or a gap that asks for a resync.
 */
import * as z from 'zod'
import type { NodeId } from '../../protocol/ids.ts'
import { type MeshChanges, MeshPeer, MeshPosition } from '../../protocol/mesh.ts'

export type FoldResult = 'applied' | 'duplicate' | 'gap'

const Stored = z.strictObject({ position: MeshPosition.optional(), peers: z.array(MeshPeer) })
type Stored = z.infer<typeof Stored>

interface Snapshot {
  readonly position: MeshPosition
  readonly peers: Map<NodeId, MeshPeer>
}

export class MeshMap {
  #position: MeshPosition | undefined
  #peers: ReadonlyMap<NodeId, MeshPeer> = new Map()
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

  fold(changes: MeshChanges): FoldResult {
    const { epoch, from, to } = changes
    if (from === undefined) return this.#foldSnapshot(changes)
    if (this.#position?.epoch !== epoch) return 'gap'
    if (this.#position.seq !== from) return to <= this.#position.seq ? 'duplicate' : 'gap'
    const parts = this.#parts.filter((part) => part.epoch === epoch && part.from === from && part.to === to)
    this.#parts = changes.more === undefined ? [] : [...parts, changes]
    if (changes.more !== undefined) return 'applied'
    const peers = new Map(this.#peers)
    for (const part of [...parts, changes]) change(peers, part)
    this.#peers = peers
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
    if (changes.more === undefined) {
      this.#position = position
      this.#peers = this.#snapshot.peers
      this.#snapshot = undefined
    }
    return 'applied'
  }

  toJSON(): Stored {
    return { ...(this.#position && { position: this.#position }), peers: [...this.#peers.values()] }
  }

  /** Undefined if it is not a map that `toJSON` gave. */
  static parse(stored: unknown): MeshMap | undefined {
    const parsed = Stored.safeParse(stored)
    if (!parsed.success) return undefined
    const map = new MeshMap()
    map.#position = parsed.data.position
    map.#peers = new Map(parsed.data.peers.map((peer) => [peer.id, peer]))
    return map
  }
}

function change(peers: Map<NodeId, MeshPeer>, { put = [], del = [] }: MeshChanges): void {
  for (const id of del) peers.delete(id)
  for (const peer of put) peers.set(peer.id, peer)
}

const samePosition = (a: MeshPosition, b: MeshPosition): boolean => a.epoch === b.epoch && a.seq === b.seq
