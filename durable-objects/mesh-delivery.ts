/** Brings mesh changes to the sockets of one shard, each from the place it has, in order and without gaps. */
import type { MeshPosition } from '../protocol/mesh.ts'
import { sendText } from './close.ts'
import { count } from './counters.ts'
import type { MeshUpdate } from './mesh-log.ts'
import type { Sessions } from './sessions.ts'

/** Publications come at most every 250 ms; one that is overtaken three times is left to the sweep. */
const RESYNC_TRIES = 3

export class MeshDelivery {
  readonly #sessions: Sessions
  readonly #changesSince: (at: MeshPosition | undefined) => Promise<MeshUpdate>

  constructor(sessions: Sessions, changesSince: (at: MeshPosition | undefined) => Promise<MeshUpdate>) {
    this.#sessions = sessions
    this.#changesSince = changesSince
  }

  /** @returns whether any of the sockets listens. */
  async publish(sockets: readonly WebSocket[], from: MeshPosition, update: MeshUpdate): Promise<boolean> {
    let listens = false
    for (const socket of sockets) {
      const session = this.#sessions.get(socket)
      // One that is about to register catches up by itself, but must not find this shard given up meanwhile.
      listens ||= session?.state === 'opened' || session?.state === 'registering'
      const place = session?.mesh
      if (place === undefined) continue
      listens = true
      if (place.epoch === from.epoch && place.seq === from.seq) this.send(socket, update)
      else if (place.epoch !== update.position.epoch || place.seq < update.position.seq)
        await this.catchUp(socket)
    }
    return listens
  }

  /** For a socket that a publication passed by. */
  catchUp(socket: WebSocket): Promise<void> {
    return this.resync(socket, this.#sessions.get(socket)?.mesh)
  }

  /** From the place the node says it has, which a publication may overtake while the answer is fetched: then it is fetched again. */
  async resync(socket: WebSocket, at: MeshPosition | undefined): Promise<void> {
    for (let tried = 0; tried < RESYNC_TRIES; tried++) {
      const before = this.#sessions.get(socket)?.mesh
      if (before === undefined) return
      const update = await this.#changesSince(at)
      const now = this.#sessions.get(socket)?.mesh
      if (now?.epoch === before.epoch && now.seq === before.seq) return this.send(socket, update)
    }
  }

  send(socket: WebSocket, update: MeshUpdate): void {
    for (const frame of update.frames) {
      if (!sendText(socket, frame)) return
      count('mesh_frames_sent')
      count('mesh_bytes_sent', frame.length)
    }
    if (update.snapshot) count('mesh_snapshots_sent')
    this.#sessions.update(socket, { mesh: update.position, meant: update.hash })
  }
}
