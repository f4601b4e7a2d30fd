/**
 * What a node's map should be at the newest place of the log, as a hash (crypto/mesh-hash.ts): kept up entry by entry, and made from all of
 * them only when the object has just woken. Every node has the same view as long as every node hears of every other.
 */
import { addPeer, type MeshSum, meshHash, sumOfPeers, takePeer } from '../crypto/mesh-hash.ts'
import type { NodeId } from '../protocol/ids.ts'
import type { MeshPeer } from '../protocol/mesh.ts'

interface Members {
  all(): MeshPeer[]
  /** Undefined for one that is not, or no longer, in the mesh. */
  one(id: NodeId): MeshPeer | undefined
}

export class MeshView {
  readonly #members: Members
  #peers: Map<NodeId, MeshPeer> | undefined
  #sum: MeshSum = 0n
  /** Looked at when the hash is asked for: a transaction that is under way may yet be undone. */
  readonly #changed = new Set<NodeId>()

  constructor(members: Members) {
    this.#members = members
  }

  touch(id: NodeId): void {
    this.#changed.add(id)
  }

  /** Not within a transaction. */
  hash(): string {
    const peers = this.#peers ?? this.#build()
    for (const id of this.#changed) {
      const [before, now] = [peers.get(id), this.#members.one(id)]
      if (before !== undefined) this.#sum = takePeer(this.#sum, before)
      if (now !== undefined) this.#sum = addPeer(this.#sum, now)
      if (now === undefined) peers.delete(id)
      else peers.set(id, now)
    }
    this.#changed.clear()
    return meshHash(this.#sum, undefined)
  }

  #build(): Map<NodeId, MeshPeer> {
    const all = this.#members.all()
    this.#changed.clear()
    this.#sum = sumOfPeers(all)
    this.#peers = new Map(all.map((peer) => [peer.id, peer]))
    return this.#peers
  }
}
