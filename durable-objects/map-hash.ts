/**
 * What a node's map should be at the newest place of the log, as a hash (crypto/mesh-hash.ts). Kept up entry by entry, with one sum for each class
 * of nodes, because what a node hears of is whole classes; made from all entries only when the object has just woken.
 */
import { addPeer, type MeshSum, meshHash, takePeer } from '../crypto/mesh-hash.ts'
import type { NodeId } from '../protocol/ids.ts'
import type { MeshPeer, MeshRule } from '../protocol/mesh.ts'

interface Members {
  all(): MeshPeer[]
  /** Undefined for one that is not, or no longer, in the mesh. */
  one(id: NodeId): MeshPeer | undefined
}

export class MapHash {
  readonly #members: Members
  #peers: Map<NodeId, MeshPeer> | undefined
  readonly #sums = new Map<number, MeshSum>()
  /** Looked at when a hash is asked for: a transaction that is under way may yet be undone. */
  readonly #changed = new Set<NodeId>()

  constructor(members: Members) {
    this.#members = members
  }

  touch(id: NodeId): void {
    this.#changed.add(id)
  }

  /** More than single entries have changed, as where a policy makes other classes. */
  reset(): void {
    this.#peers = undefined
  }

  /**
   * Of the map of a node that hears of these classes and holds to these rules. Not within a transaction.
   * @param sees null: all, since there is no policy.
   */
  of(sees: Iterable<number> | null, rules: readonly MeshRule[] | null): string {
    this.#catchUp(this.#peers ?? this.#build())
    const sums = sees === null ? [...this.#sums.values()] : [...sees].map((id) => this.#sums.get(id) ?? 0n)
    return meshHash(
      sums.reduce((whole, sum) => whole + sum, 0n),
      rules,
    )
  }

  #catchUp(peers: Map<NodeId, MeshPeer>): void {
    for (const id of this.#changed) {
      const [before, now] = [peers.get(id), this.#members.one(id)]
      if (before !== undefined) this.#change(before, takePeer)
      if (now === undefined) peers.delete(id)
      else {
        this.#change(now, addPeer)
        peers.set(id, now)
      }
    }
    this.#changed.clear()
  }

  #build(): Map<NodeId, MeshPeer> {
    const all = this.#members.all()
    this.#changed.clear()
    this.#sums.clear()
    for (const peer of all) this.#change(peer, addPeer)
    this.#peers = new Map(all.map((peer) => [peer.id, peer]))
    return this.#peers
  }

  #change(peer: MeshPeer, by: typeof addPeer): void {
    const id = peer.class ?? 0
    this.#sums.set(id, by(this.#sums.get(id) ?? 0n, peer))
  }
}
