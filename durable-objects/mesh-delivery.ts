/** Brings mesh changes to the sockets of one shard, each what concerns its class, from the place it has, in order and without gaps. */
import type { NodeId } from '../protocol/ids.ts'
import type { MeshPosition } from '../protocol/mesh.ts'
import type { Attachment } from './attachment.ts'
import { sendText } from './close.ts'
import { count } from './counters.ts'
import type { MeshDelta, MeshPublication } from './mesh-fanout.ts'
import type { MeshUpdate } from './mesh-log.ts'
import type { Sessions } from './sessions.ts'

/** Publications come at most every 250 ms; one that is overtaken three times is left to the sweep. */
const RESYNC_TRIES = 3

/** What the shard asks the registry. */
export interface MeshSource {
  changesSince(node: NodeId, at: MeshPosition | undefined): Promise<MeshUpdate>
  /** The classes that this one may speak to or hear from; null: all. */
  seenBy(audience: number): Promise<readonly number[] | null>
}

/** What became of a publication. */
export interface MeshReceipt {
  /** The classes that listen here; undefined while that cannot be said. */
  readonly listening: readonly number[] | undefined
  /** Nodes whose sessions are not of their new class yet. */
  readonly waiting: readonly NodeId[]
}

export class MeshDelivery {
  readonly #sessions: Sessions
  readonly #source: MeshSource
  /** By class, for those of the sockets here: whose signals they may get. */
  readonly #sees = new Map<number, ReadonlySet<number> | null>()

  constructor(sessions: Sessions, source: MeshSource) {
    this.#sessions = sessions
    this.#source = source
  }

  async publish({ epoch, deltas, moved }: MeshPublication): Promise<MeshReceipt> {
    const movedNodes = new Set(moved.map(({ node }) => node))
    for (const { was, from, update } of deltas) {
      if (was !== update.audience) continue
      this.#learn(update)
      for (const socket of this.#sessions.listeners.of(was)) {
        const session = this.#sessions.get(socket)
        if (session?.mesh === undefined || movedNodes.has(session.node)) continue
        if (isAt(session.mesh, epoch, from)) this.send(socket, update)
        else if (session.mesh.epoch !== epoch || session.mesh.seq < update.position.seq)
          await this.catchUp(socket)
      }
    }
    const transitions = deltas.filter(({ was, update }) => was !== update.audience)
    const waiting: NodeId[] = []
    for (const { node, audience } of moved)
      for (const socket of this.#sessions.of(node))
        if (!(await this.#move(socket, audience, epoch, transitions))) waiting.push(node)
    return { listening: this.#sessions.listeners.audiences, waiting }
  }

  /** From the class the session knows of to the one its node has. @returns whether that is done. */
  async #move(
    socket: WebSocket,
    audience: number,
    epoch: string,
    deltas: readonly MeshDelta[],
  ): Promise<boolean> {
    const session = this.#sessions.get(socket)
    // What it is told when it has registered may be from before.
    if (session?.state === 'opened' || session?.state === 'registering') return false
    if (session?.mesh === undefined || audienceOf(session) === audience) return true
    const delta = deltas.find(
      ({ was, update }) => was === audienceOf(session) && update.audience === audience,
    )
    if (delta !== undefined && isAt(session.mesh, epoch, delta.from)) this.send(socket, delta.update)
    else await this.catchUp(socket)
    const now = this.#sessions.get(socket)
    return now?.mesh === undefined || audienceOf(now) === audience
  }

  /** For a socket that a publication passed by. */
  catchUp(socket: WebSocket): Promise<void> {
    return this.resync(socket, this.#sessions.get(socket)?.mesh)
  }

  /** From the place the node says it has, which a publication may overtake while the answer is fetched: then it is fetched again. */
  async resync(socket: WebSocket, at: MeshPosition | undefined): Promise<void> {
    for (let tried = 0; tried < RESYNC_TRIES; tried++) {
      const before = this.#sessions.get(socket)
      if (before?.mesh === undefined) return
      const update = await this.#source.changesSince(before.node, at)
      const now = this.#sessions.get(socket)?.mesh
      if (now !== undefined && isAt(now, before.mesh.epoch, before.mesh.seq)) return this.send(socket, update)
    }
  }

  send(socket: WebSocket, update: MeshUpdate): void {
    for (const frame of update.frames) {
      if (!sendText(socket, frame)) return
      count('mesh_frames_sent')
      count('mesh_bytes_sent', frame.length)
    }
    if (update.snapshot) count('mesh_snapshots_sent')
    this.#learn(update)
    const { position, audience, hash } = update
    this.#sessions.update(socket, { mesh: position, audience, meant: hash })
  }

  /** Whether this session may get a signal from a node of that class: one that it may speak to or hear from. @param from undefined for one that takes no part. */
  async mayHear(to: Attachment, from: number | undefined): Promise<boolean> {
    const audience = audienceOf(to)
    if (!this.#sees.has(audience)) {
      const sees = await this.#source.seenBy(audience)
      // What a publication has brought meanwhile is newer.
      if (!this.#sees.has(audience)) this.#sees.set(audience, sees && new Set(sees))
    }
    const sees = this.#sees.get(audience) ?? null
    return sees === null || (from !== undefined && sees.has(from))
  }

  #learn({ audience, sees }: MeshUpdate): void {
    this.#sees.set(audience, sees && new Set(sees))
  }
}

export const audienceOf = ({ audience = 0 }: Attachment): number => audience

const isAt = (place: MeshPosition, epoch: string, seq: number): boolean =>
  place.epoch === epoch && place.seq === seq

/** @param newest place of the session's class; one that is not known is no class any more. */
export const isBehind = (place: MeshPosition, epoch: string, newest: number | undefined): boolean =>
  place.epoch !== epoch || newest === undefined || place.seq < newest
