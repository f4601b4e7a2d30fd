/** Brings mesh changes to the sockets of one shard, each from the place it has, in order and without gaps. */
import type { MeshPosition } from '../protocol/mesh.ts'
import { sendText } from './close.ts'
import { count } from './counters.ts'
import type { MeshUpdate } from './mesh-log.ts'
import type { Sessions } from './sessions.ts'

export class MeshDelivery {
  readonly #sessions: Sessions
  readonly #changesSince: (at: MeshPosition) => Promise<MeshUpdate>

  constructor(sessions: Sessions, changesSince: (at: MeshPosition) => Promise<MeshUpdate>) {
    this.#sessions = sessions
    this.#changesSince = changesSince
  }

  /** @returns whether any of the sockets listens. */
  async publish(sockets: readonly WebSocket[], from: MeshPosition, update: MeshUpdate): Promise<boolean> {
    let listens = false
    for (const socket of sockets) {
      const place = this.#sessions.get(socket)?.mesh
      if (place === undefined) continue
      listens = true
      if (place.epoch === from.epoch && place.seq === from.seq) this.send(socket, update)
      else if (place.epoch !== update.position.epoch || place.seq < update.position.seq)
        await this.catchUp(socket)
    }
    return listens
  }

  /** For a socket that a publication passed by. */
  async catchUp(socket: WebSocket): Promise<void> {
    const at = this.#sessions.get(socket)?.mesh
    if (at === undefined) return
    const update = await this.#changesSince(at)
    // A publication may have brought it further meanwhile.
    const place = this.#sessions.get(socket)?.mesh
    if (place !== undefined && place.epoch === at.epoch && place.seq === at.seq) this.send(socket, update)
  }

  send(socket: WebSocket, update: MeshUpdate): void {
    for (const frame of update.frames) {
      if (!sendText(socket, frame)) return
      count('mesh_frames_sent')
      count('mesh_bytes_sent', frame.length)
    }
    if (update.snapshot) count('mesh_snapshots_sent')
    this.#sessions.update(socket, { mesh: update.position })
  }
}
