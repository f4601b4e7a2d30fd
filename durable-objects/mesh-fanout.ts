/**
 * Sends mesh changes to the session shards: the first at once, then what gathers in a window of 250 ms; a revocation does not wait.
 *
 * A shard that did not answer is simply behind: it gets everything since the place it has with the next change, or with the sweep.
 */
import { MESH_WINDOW_MS } from '../protocol/limits.ts'
import type { MeshPosition } from '../protocol/mesh.ts'
import type { MeshLog, MeshUpdate } from './mesh-log.ts'

/** Resolves to whether the shard has any socket that listens to the mesh. */
export type PublishToShard = (shard: string, from: MeshPosition, update: MeshUpdate) => Promise<boolean>

export class MeshFanout {
  readonly #log: MeshLog
  readonly #publish: PublishToShard
  /** What each shard was last given; one that has no listener is dropped until a node registers there. */
  readonly #delivered: Map<string, number>
  /** How often nodes have registered there: an answer "nobody listens" is only believed if nobody came while it was on its way. */
  readonly #registrations = new Map<string, number>()
  #windowOpen = false
  #pending = false

  constructor(log: MeshLog, shards: readonly string[], publish: PublishToShard) {
    this.#log = log
    this.#publish = publish
    this.#delivered = new Map(shards.map((shard) => [shard, log.position.seq]))
  }

  /** Call when a node of that shard registers for the mesh, with the place it is given. */
  listens(shard: string): void {
    this.#registrations.set(shard, (this.#registrations.get(shard) ?? 0) + 1)
    if (!this.#delivered.has(shard)) this.#delivered.set(shard, this.#log.position.seq)
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
    const { epoch, seq: head } = this.#log.position
    const updates = new Map<number, MeshUpdate>()
    const behind = [...this.#delivered].filter(([, seq]) => seq < head)
    await Promise.all(
      behind.map(async ([shard, seq]) => {
        const update = updates.get(seq) ?? this.#log.since({ epoch, seq })
        updates.set(seq, update)
        this.#delivered.set(shard, head)
        const registrations = this.#registrations.get(shard)
        try {
          const listens = await this.#publish(shard, { epoch, seq }, update)
          if (!listens && this.#registrations.get(shard) === registrations) this.#delivered.delete(shard)
        } catch (error) {
          this.#delivered.set(shard, seq)
          console.warn({ event: 'mesh_publish_failed', shard, error: String(error) })
        }
      }),
    )
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
