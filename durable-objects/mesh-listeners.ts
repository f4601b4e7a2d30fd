/** Which sockets of a shard listen to the mesh, by class; in memory, and made anew from the attachments when the object wakes. */
import type { Attachment } from './attachment.ts'

export class MeshListeners {
  readonly #byAudience = new Map<number, Set<WebSocket>>()
  readonly #audiences = new Map<WebSocket, number>()
  /** About to register: they will listen, or not, to a class that is not known yet. */
  readonly #arriving = new Set<WebSocket>()

  /** The socket's attachment is this from now on. */
  note(socket: WebSocket, { state, mesh, audience = 0 }: Attachment): void {
    if (state === 'opened' || state === 'registering') this.#arriving.add(socket)
    else this.#arriving.delete(socket)
    const now = state === 'live' && mesh !== undefined ? audience : undefined
    const before = this.#audiences.get(socket)
    if (before === now) return
    if (before !== undefined) this.#leave(socket, before)
    if (now === undefined) return
    this.#audiences.set(socket, now)
    const others = this.#byAudience.get(now) ?? new Set<WebSocket>()
    this.#byAudience.set(now, others.add(socket))
  }

  of(audience: number): WebSocket[] {
    return [...(this.#byAudience.get(audience) ?? [])]
  }

  /** Undefined while somebody is about to register. */
  get audiences(): number[] | undefined {
    return this.#arriving.size > 0 ? undefined : [...this.#byAudience.keys()]
  }

  #leave(socket: WebSocket, audience: number): void {
    this.#audiences.delete(socket)
    const others = this.#byAudience.get(audience)
    others?.delete(socket)
    if (others?.size === 0) this.#byAudience.delete(audience)
  }
}
