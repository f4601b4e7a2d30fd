/**
 * Sends mesh changes to the session shards, to each what concerns the classes that listen there: the first at once, then what gathers in a
 * window of 250 ms; what takes something away does not wait.
 *
 * A shard that did not answer is simply behind: it gets everything since the place it has with the next change, or with the sweep.
 */
import type { NodeId } from '../protocol/ids.ts'
import { MESH_WINDOW_MS } from '../protocol/limits.ts'
import type { MeshReceipt } from './mesh-delivery.ts'
import type { Listener, MeshLog, MeshUpdate } from './mesh-log.ts'

/** For the nodes of the class `was` that are at the place `from`; those that are of another class now are named in the publication. */
export interface MeshDelta {
  readonly was: number
  readonly from: number
  readonly update: MeshUpdate
}

export interface MeshPublication {
  readonly epoch: string
  readonly deltas: readonly MeshDelta[]
  /** Nodes that are of another class now, with that class. */
  readonly moved: readonly { readonly node: NodeId; readonly audience: number }[]
}

export type PublishToShard = (shard: string, publication: MeshPublication) => Promise<MeshReceipt>

/** A node that is of another class than the one its session knows of. */
export interface Move {
  readonly node: NodeId
  readonly was: number
  readonly now: number
}

type Delivered = Omit<Listener, 'audience'>

export class MeshFanout {
  readonly #log: MeshLog
  readonly #publish: PublishToShard
  readonly #settled: (moves: readonly Move[]) => void
  /** By shard and class what was last given there; a class without a listener is dropped until a node of it registers there. */
  readonly #delivered: Map<string, Map<number, Delivered>>
  /** How often nodes have registered there: an answer "nobody listens" is only believed if nobody came while it was on its way. */
  readonly #registrations = new Map<string, number>()
  readonly #moves = new Map<string, Map<NodeId, Move>>()
  #windowOpen = false
  #pending = false

  /** @param settled called with the moves that a shard has confirmed. */
  constructor(
    log: MeshLog,
    shards: readonly string[],
    audiences: readonly number[],
    publish: PublishToShard,
    settled: (moves: readonly Move[]) => void,
  ) {
    this.#log = log
    this.#publish = publish
    this.#settled = settled
    this.#delivered = new Map(
      shards.map((shard) => [
        shard,
        new Map(audiences.map((audience) => [audience, this.#newest(audience)])),
      ]),
    )
  }

  /** Call when a node of that shard registers for the mesh, with the place it is given. */
  listens(shard: string, audience: number): void {
    this.#registrations.set(shard, (this.#registrations.get(shard) ?? 0) + 1)
    const delivered = this.#of(shard)
    if (!delivered.has(audience)) delivered.set(audience, this.#newest(audience))
  }

  moved(shard: string, move: Move): void {
    const moves = this.#moves.get(shard) ?? new Map<NodeId, Move>()
    // Its session still knows of the first class, however often it has changed since.
    moves.set(move.node, { ...move, was: moves.get(move.node)?.was ?? move.was })
    this.#moves.set(shard, moves)
  }

  changed(options: { readonly urgent: boolean }): Promise<void> {
    if (this.#windowOpen && !options.urgent) {
      this.#pending = true
      return Promise.resolve()
    }
    if (!this.#windowOpen) this.#openWindow()
    return this.flush()
  }

  async flush(): Promise<void> {
    this.#pending = false
    const encoded = new Map<string, MeshUpdate | undefined>()
    await Promise.all([...this.#delivered.keys()].map((shard) => this.#flushTo(shard, encoded)))
  }

  /** @param encoded what was encoded for other shards already. */
  async #flushTo(shard: string, encoded: Map<string, MeshUpdate | undefined>): Promise<void> {
    const delivered = this.#of(shard)
    const moves = [...(this.#moves.get(shard)?.values() ?? [])]
    const behind = [...delivered].filter(([audience, { seq }]) => seq < this.#log.place(audience))
    if (behind.length + moves.length === 0) return
    const deltas = [
      ...behind.flatMap(([audience, at]) => this.#encode({ audience, ...at }, audience, encoded)),
      ...transitions(moves).flatMap(({ was, now }) => {
        const at = delivered.get(was)
        return at === undefined ? [] : this.#encode({ audience: was, ...at }, now, encoded)
      }),
    ]
    const before = new Map(delivered)
    for (const audience of [...delivered.keys(), ...moves.map(({ now }) => now)])
      delivered.set(audience, this.#newest(audience))
    this.#moves.delete(shard)
    const registrations = this.#registrations.get(shard)
    try {
      const moved = moves.map(({ node, now }) => ({ node, audience: now }))
      const { listening, waiting } = await this.#publish(shard, { epoch: this.#log.epoch, deltas, moved })
      for (const move of moves.filter(({ node }) => waiting.includes(node))) this.#restore(shard, move)
      this.#settled(moves.filter(({ node }) => this.#moves.get(shard)?.has(node) !== true))
      if (listening === undefined || this.#registrations.get(shard) !== registrations) return
      for (const audience of delivered.keys()) if (!listening.includes(audience)) delivered.delete(audience)
    } catch (error) {
      for (const [audience, at] of before) delivered.set(audience, at)
      for (const move of moves) this.#restore(shard, move)
      console.warn({ event: 'mesh_publish_failed', shard, error: String(error) })
    }
  }

  /** Still to be done; unless the node has moved on meanwhile, to where it was going. */
  #restore(shard: string, move: Move): void {
    const { now } = this.#moves.get(shard)?.get(move.node) ?? move
    this.#moves.get(shard)?.delete(move.node)
    this.moved(shard, { ...move, now })
  }

  #encode(listener: Listener, audience: number, encoded: Map<string, MeshUpdate | undefined>): MeshDelta[] {
    const key = `${listener.audience} ${listener.seq} ${listener.through} ${audience}`
    if (!encoded.has(key)) encoded.set(key, this.#log.from(listener, audience))
    const update = encoded.get(key)
    return update === undefined ? [] : [{ was: listener.audience, from: listener.seq, update }]
  }

  #newest(audience: number): Delivered {
    return { seq: this.#log.place(audience), through: this.#log.head }
  }

  #of(shard: string): Map<number, Delivered> {
    const delivered = this.#delivered.get(shard) ?? new Map<number, Delivered>()
    this.#delivered.set(shard, delivered)
    return delivered
  }

  /** The timer keeps the object awake for one window; should the object go all the same, the shards' sweep finds what is missing. */
  #openWindow(): void {
    this.#windowOpen = true
    setTimeout(() => {
      this.#windowOpen = false
      if (!this.#pending) return
      this.#openWindow()
      void this.flush()
    }, MESH_WINDOW_MS)
  }
}

/** Each from one class to another, once. */
const transitions = (moves: readonly Move[]): Move[] => [
  ...new Map(
    moves.filter(({ was, now }) => was !== now).map((move) => [`${move.was} ${move.now}`, move]),
  ).values(),
]
