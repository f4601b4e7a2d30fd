/**
 * The sessions of one shard, as its sockets carry them: attachments read once after the object wakes, presence kept for those that have
 * ended, and the generation each node has reached.
 */
import type { NodeStatus } from '../protocol/http.ts'
import type { NodeId } from '../protocol/ids.ts'
import { FRAME_BURST, FRAMES_PER_SECOND, RESYNC_BURST, RESYNCS_PER_SECOND } from '../protocol/limits.ts'
import { TokenBucket } from '../protocol/token-bucket.ts'
import { type Attachment, readAttachment, updateAttachment } from './attachment.ts'
import { MeshListeners } from './mesh-listeners.ts'
import { leaseStatus } from './presence.ts'
import type { Migration, Sql } from './sql.ts'

const FRAME_RATE = { burst: FRAME_BURST, perSecond: FRAMES_PER_SECOND }
const RESYNC_RATE = { burst: RESYNC_BURST, perSecond: RESYNCS_PER_SECOND }

export const SESSION_MIGRATIONS: readonly Migration[] = [
  { id: 2, sql: 'CREATE TABLE presence (node_id TEXT PRIMARY KEY, seen_at INTEGER NOT NULL) WITHOUT ROWID' },
  { id: 3, sql: 'ALTER TABLE presence ADD COLUMN generation INTEGER' },
]

export interface Presence {
  readonly node: NodeId
  readonly status: NodeStatus
  readonly seenAt: number
  readonly telemetry?: Attachment['telemetry']
  /** The newest acknowledgement of the mesh map. */
  readonly ack?: Attachment['ack']
  /** The class of nodes it was last told it belongs to. */
  readonly audience?: number
}

interface PresenceRow extends Record<string, number | null> {
  seen_at: number
  generation: number | null
}

export class Sessions {
  readonly #ctx: DurableObjectState
  readonly #sql: Sql
  readonly #attachments = new WeakMap<WebSocket, Attachment>()
  #listeners: MeshListeners | undefined
  readonly #buckets = new WeakMap<WebSocket, TokenBucket>()
  readonly #resyncs = new WeakMap<WebSocket, TokenBucket>()

  constructor(ctx: DurableObjectState, sql: Sql) {
    this.#ctx = ctx
    this.#sql = sql
  }

  /** Undefined for a socket accepted by a version of this code that is no longer understood. */
  get(socket: WebSocket): Attachment | undefined {
    const attachment = this.#attachments.get(socket) ?? readAttachment(socket)
    if (attachment !== undefined) this.#attachments.set(socket, attachment)
    return attachment
  }

  open(socket: WebSocket, attachment: Attachment): void {
    this.#ctx.acceptWebSocket(socket, [attachment.node])
    socket.serializeAttachment(attachment)
    this.#remember(socket, attachment)
  }

  /** Changes the socket's newest attachment: another frame may have changed it while this one awaited. */
  update(socket: WebSocket, change: Partial<Attachment>): void {
    const current = this.get(socket)
    if (current !== undefined) this.#remember(socket, updateAttachment(socket, current, change))
  }

  /** Those that listen to the mesh, by class. */
  get listeners(): MeshListeners {
    if (this.#listeners !== undefined) return this.#listeners
    this.#listeners = new MeshListeners()
    for (const socket of this.#ctx.getWebSockets()) {
      const attachment = this.get(socket)
      if (attachment !== undefined) this.#listeners.note(socket, attachment)
    }
    return this.#listeners
  }

  of(node: NodeId): WebSocket[] {
    return this.#ctx.getWebSockets(node)
  }

  /** Those that are up. */
  live(node: NodeId): WebSocket[] {
    return this.of(node).filter((socket) => this.get(socket)?.state === 'live')
  }

  /** Marks the session as over, before its close event comes. @returns false if it was over already. */
  end(socket: WebSocket): boolean {
    const current = this.get(socket)
    if (current === undefined || current.state === 'closing') return false
    const { mesh: _, ...rest } = current
    const ended: Attachment = { ...rest, state: 'closing' }
    this.#remember(socket, ended)
    try {
      socket.serializeAttachment(ended)
    } catch {
      // The socket is gone, and its attachment with it.
    }
    if (current.state === 'live') this.#saw(current.node, this.seenAt(socket, current))
    return true
  }

  /**
   * Takes note that a node begins a session of this generation. Two disks with one identity cannot both raise the counter in step, so one
   * of them comes with a generation that was used before (X2, design section 4.7).
   *
   * @returns false if this generation, or a later one, was here already.
   */
  advance(node: NodeId, generation: number, now: number): boolean {
    const reached = this.#row(node)?.generation ?? 0
    if (generation <= reached) return false
    this.#sql.run(
      `INSERT INTO presence (node_id, seen_at, generation) VALUES (?, ?, ?)
       ON CONFLICT (node_id) DO UPDATE SET seen_at = excluded.seen_at, generation = excluded.generation`,
      node,
      now,
      generation,
    )
    return true
  }

  /** Whichever machine comes next is the node: its owner has decided. */
  forgetGeneration(node: NodeId): void {
    this.#sql.run('UPDATE presence SET generation = NULL WHERE node_id = ?', node)
  }

  /** When the node was last heard: by a frame, or by a heartbeat, of which the runtime keeps the time. */
  seenAt(socket: WebSocket, attachment: Attachment): number {
    const pinged = this.#ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? 0
    return Math.max(pinged, attachment.seenAt)
  }

  presence(node: NodeId, now: number): Presence | undefined {
    for (const socket of this.#ctx.getWebSockets(node)) {
      const attachment = this.get(socket)
      if (attachment?.state !== 'live') continue
      const seenAt = this.seenAt(socket, attachment)
      const { telemetry, ack, audience = 0 } = attachment
      return {
        node,
        status: leaseStatus(seenAt, now),
        seenAt,
        ...(telemetry && { telemetry }),
        ...(ack && { ack, audience }),
      }
    }
    const row = this.#row(node)
    return row && { node, status: 'offline', seenAt: row.seen_at }
  }

  /** False once the socket sends more frames than a node has reason to. */
  mayReceive(socket: WebSocket, now: number): boolean {
    const bucket = this.#buckets.get(socket) ?? new TokenBucket(FRAME_RATE)
    this.#buckets.set(socket, bucket)
    return bucket.take(now)
  }

  /** A whole map for a frame of a few bytes: seldom enough that a node cannot make this object send without end. */
  mayResync(socket: WebSocket, now: number): boolean {
    const bucket = this.#resyncs.get(socket) ?? new TokenBucket(RESYNC_RATE)
    this.#resyncs.set(socket, bucket)
    return bucket.take(now)
  }

  #remember(socket: WebSocket, attachment: Attachment): void {
    this.#attachments.set(socket, attachment)
    this.#listeners?.note(socket, attachment)
  }

  #row(node: NodeId): PresenceRow | undefined {
    return this.#sql.first<PresenceRow>('SELECT seen_at, generation FROM presence WHERE node_id = ?', node)
  }

  #saw(node: NodeId, at: number): void {
    this.#sql.run('UPDATE presence SET seen_at = ? WHERE node_id = ?', at, node)
  }
}
