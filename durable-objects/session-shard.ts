/**
 * The sessions of the nodes that hash to this shard: their sockets, which hibernate; their presence, newest telemetry and place in the
 * mesh log, which live in the sockets' attachments; and the check of every proof these nodes present. The truth about nodes is Fleet's.
 *
 * Rows are written when a session begins or ends and when a proof is used, never for a heartbeat or telemetry.
 */
import { DurableObject } from 'cloudflare:workers'
import type { ErrorCode, Refusal } from '../protocol/errors.ts'
import {
  CLOSE,
  type NodeFrame,
  PING,
  PONG,
  type RegisterFrame,
  type SignalFrame,
  type Telemetry,
} from '../protocol/frames.ts'
import type { NodeStatus } from '../protocol/http.ts'
import { type NodeId, SessionId } from '../protocol/ids.ts'
import {
  FRAME_BURST,
  FRAMES_PER_SECOND,
  HEARTBEAT_INTERVAL_MS,
  MAX_VIOLATIONS,
  OFFLINE_AFTER_MS,
  REGISTER_TIMEOUT_MS,
  TELEMETRY_INTERVAL_MS,
} from '../protocol/limits.ts'
import type { MeshPosition } from '../protocol/mesh.ts'
import type { Result } from '../protocol/result.ts'
import { shardName } from '../protocol/shard.ts'
import { OLDEST_SUPPORTED_PROTOCOL_VERSION, PROTOCOL_VERSION } from '../protocol/version.ts'
import { type Attachment, readAttachment, updateAttachment } from './attachment.ts'
import { callObject, FLEET_OBJECT } from './call-object.ts'
import { closeQuietly, sendError, sendFrame, sendText } from './close.ts'
import { readConfig } from './config.ts'
import { count, readCounters } from './counters.ts'
import type { Env } from './env.ts'
import type { Fleet, NodeRecord } from './fleet.ts'
import { readFrame } from './frame-reader.ts'
import type { MeshUpdate } from './mesh-log.ts'
import { NodeAuthenticator } from './node-authenticator.ts'
import { leaseStatus } from './presence.ts'
import { problemResponse } from './problem.ts'
import type { ProvenRequest } from './proof.ts'
import { REPLAY_MIGRATION, ReplayCache } from './replay-cache.ts'
import { Sql } from './sql.ts'
import { TokenBucket } from './token-bucket.ts'

export interface Presence {
  readonly node: NodeId
  readonly status: NodeStatus
  readonly seenAt: number
  readonly telemetry?: Telemetry
}

interface Session {
  readonly node: NodeId
  readonly attachment: Attachment
}

const MIGRATIONS = [
  REPLAY_MIGRATION,
  { id: 2, sql: 'CREATE TABLE presence (node_id TEXT PRIMARY KEY, seen_at INTEGER NOT NULL) WITHOUT ROWID' },
]

export class SessionShard extends DurableObject<Env> {
  readonly #sql: Sql
  readonly #authenticator: NodeAuthenticator
  /** Attachments and buckets of sockets used since the object woke; both can be rebuilt, or forgotten without harm. */
  readonly #attachments = new WeakMap<WebSocket, Attachment>()
  readonly #buckets = new WeakMap<WebSocket, TokenBucket>()
  readonly #registerTimers = new WeakMap<WebSocket, number>()

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#sql = new Sql(ctx.storage, MIGRATIONS)
    this.#authenticator = new NodeAuthenticator(new ReplayCache(this.#sql), (id) =>
      this.#fleet((fleet) => fleet.node(id)),
    )
    // Belongs to the process, not to storage: set anew each time the object wakes.
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING, PONG))
  }

  /** Checks a node's proof for an ordinary request. */
  async authenticate(
    jwt: string,
    request: ProvenRequest,
  ): Promise<Result<{ node: NodeRecord; jti: string }, Refusal>> {
    const { origins } = await readConfig(this.env)
    return this.#authenticator.authenticate(jwt, request, origins)
  }

  /** The session upgrade; the Worker has found this shard from what the proof claims, the proof itself is checked here. */
  override async fetch(request: Request): Promise<Response> {
    const proof = request.headers.get('claw-proof') ?? ''
    const path = new URL(request.url).pathname
    const authenticated = await this.authenticate(proof, {
      method: request.method,
      path,
      bodyHash: request.headers.get('claw-body-hash') ?? '',
    })
    if (!authenticated.ok)
      return problemResponse(authenticated.error, request.headers.get('claw-request-id') ?? '')
    const { 0: client, 1: server } = new WebSocketPair()
    const { node } = authenticated.value
    this.ctx.acceptWebSocket(server, [node.id])
    const now = Date.now()
    const attachment: Attachment = {
      v: 1,
      node: node.id,
      session: SessionId.parse(crypto.randomUUID()),
      openedAt: now,
      seenAt: now,
      state: 'opened',
      violations: 0,
    }
    server.serializeAttachment(attachment)
    this.#attachments.set(server, attachment)
    // A timer, not an alarm: an alarm is a row. A pending timer keeps the object from hibernating, so it cannot be lost with the memory.
    this.#registerTimers.set(
      server,
      setTimeout(() => this.#closeUnregistered(server), REGISTER_TIMEOUT_MS),
    )
    count('session_upgrades')
    return new Response(null, { status: 101, webSocket: client })
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    count('object_wakeups_by_frame')
    const session = this.#session(socket)
    if (session === undefined) return closeQuietly(socket, CLOSE.goingAway)
    if (session.attachment.state === 'closing') return
    if (!this.#bucket(socket).take(Date.now())) return this.#violation(socket, session, 'E_FRAME_RATE')
    const frame = readFrame(message)
    if (!frame.ok) return this.#violation(socket, session, frame.error)
    const isFirst = session.attachment.state === 'opened'
    if (isFirst !== (frame.value.type === 'register'))
      return this.#violation(socket, session, 'E_FRAME_OUT_OF_ORDER')
    await this.#handle(socket, session, frame.value)
  }

  override webSocketClose(socket: WebSocket, code: number): void {
    count('object_wakeups_by_close')
    this.#ended(socket)
    closeQuietly(socket, code)
  }

  override webSocketError(socket: WebSocket): void {
    this.#ended(socket)
    closeQuietly(socket, CLOSE.goingAway)
  }

  /** Mesh changes for the listeners here. @returns whether there are any. */
  async publish(from: MeshPosition, update: MeshUpdate): Promise<boolean> {
    let listens = false
    for (const socket of this.ctx.getWebSockets()) {
      const session = this.#session(socket)
      const place = session?.attachment.mesh
      if (session === undefined || place === undefined) continue
      listens = true
      if (place.epoch === from.epoch && place.seq === from.seq) this.#sendMesh(socket, session, update)
      else if (place.epoch !== update.position.epoch || place.seq < update.position.seq)
        await this.#catchUp(socket)
    }
    return listens
  }

  /** Hands signals of one node to others whose sockets are here; one for an absent node is dropped, its sender will hear from it. */
  deliver(from: NodeId, signals: SignalFrame['signals']): void {
    for (const { to, sealed } of signals) {
      for (const socket of this.ctx.getWebSockets(to)) {
        if (this.#session(socket)?.attachment.mesh === undefined) continue
        sendFrame(socket, { type: 'signal', from, sealed })
        count('signals_routed')
      }
    }
  }

  /** Cuts a removed node off. */
  revoke(node: NodeId): void {
    this.#authenticator.forget(node)
    for (const socket of this.ctx.getWebSockets(node)) {
      sendFrame(socket, { type: 'revoked' })
      this.#close(socket, CLOSE.removed, 'E_NODE_REMOVED')
    }
  }

  presence(nodes: readonly NodeId[]): Presence[] {
    const now = Date.now()
    return nodes.flatMap((node): Presence[] => {
      const live = this.ctx.getWebSockets(node).map((socket) => ({ socket, session: this.#session(socket) }))
      const found = live.find(({ session }) => session?.attachment.state === 'live')
      if (found?.session !== undefined) {
        const { telemetry } = found.session.attachment
        const seenAt = this.#seenAt(found.socket, found.session.attachment)
        return [{ node, status: leaseStatus(seenAt, now), seenAt, ...(telemetry && { telemetry }) }]
      }
      const row = this.#sql.first<{ seen_at: number }>('SELECT seen_at FROM presence WHERE node_id = ?', node)
      return row === undefined ? [] : [{ node, status: 'offline', seenAt: row.seen_at }]
    })
  }

  /** Once a minute: ends leases that nobody renewed, and mends what a lost publication left behind. */
  async sweep(position: MeshPosition): Promise<void> {
    count('object_wakeups_by_sweep')
    const now = Date.now()
    for (const socket of this.ctx.getWebSockets()) {
      const session = this.#session(socket)
      if (session === undefined) continue
      const { state, mesh } = session.attachment
      if (state !== 'live') continue
      if (now - this.#seenAt(socket, session.attachment) > OFFLINE_AFTER_MS) {
        sendError(socket, 'E_LEASE_EXPIRED')
        this.#ended(socket)
        closeQuietly(socket, CLOSE.leaseExpired)
      } else if (mesh !== undefined && mesh.seq < position.seq) await this.#catchUp(socket)
    }
  }

  counters() {
    return readCounters()
  }

  async #handle(socket: WebSocket, session: Session, frame: NodeFrame): Promise<void> {
    switch (frame.type) {
      case 'register':
        return this.#register(socket, session, frame)
      case 'telemetry':
        this.#update(socket, session, { seenAt: Date.now(), telemetry: frame.telemetry })
        return sendFrame(socket, { type: 'ack', n: frame.n })
      case 'signal':
        return this.#route(session.node, frame.signals)
      case 'mesh_resync': {
        if (session.attachment.mesh === undefined)
          return this.#violation(socket, session, 'E_FRAME_OUT_OF_ORDER')
        const update = await this.#fleet((fleet) => fleet.changesSince(frame.at))
        return this.#sendMesh(socket, session, update)
      }
      default:
        return frame satisfies never
    }
  }

  async #register(socket: WebSocket, session: Session, frame: RegisterFrame): Promise<void> {
    if (frame.protocol < OLDEST_SUPPORTED_PROTOCOL_VERSION) {
      sendError(socket, 'E_PROTOCOL_VERSION')
      return this.#close(socket, CLOSE.violations, 'E_PROTOCOL_VERSION')
    }
    const opened = this.#update(socket, session, { state: 'registering' })
    const { node: id } = session
    const [node, update] = await Promise.all([
      this.#authenticator.node(id),
      this.#fleet((fleet) =>
        fleet.register({ node: id, agent: frame.agent, mesh: frame.mesh, at: frame.at }),
      ),
    ])
    if (update === undefined || node === undefined) return this.revoke(id)
    if (this.#session(socket)?.attachment.state !== 'registering') return
    const replaced = this.#supersede(id, socket)
    const live = this.#update(socket, opened, {
      state: 'live',
      seenAt: Date.now(),
      ...(frame.mesh && { mesh: update.position }),
    })
    clearTimeout(this.#registerTimers.get(socket) ?? null)
    this.#recordPresence(id, live.attachment.seenAt)
    count('sessions_registered')
    sendFrame(socket, {
      type: 'registered',
      protocol: Math.min(frame.protocol, PROTOCOL_VERSION),
      settings: { heartbeatMs: HEARTBEAT_INTERVAL_MS, telemetryMs: TELEMETRY_INTERVAL_MS },
      fleet: node.record.fleet,
      ip4: node.record.ipv4,
      time: Date.now(),
      ...(replaced && { replaced: true }),
    })
    if (frame.mesh) this.#sendMesh(socket, live, update)
    // What was published while the fleet was answering passed this socket by.
    if (frame.mesh) await this.#catchUp(socket)
  }

  async #catchUp(socket: WebSocket): Promise<void> {
    const at = this.#session(socket)?.attachment.mesh
    if (at === undefined) return
    const update = await this.#fleet((fleet) => fleet.changesSince(at))
    const session = this.#session(socket)
    const place = session?.attachment.mesh
    if (session === undefined || place === undefined || place.seq >= update.position.seq) return
    this.#sendMesh(socket, session, update)
  }

  #sendMesh(socket: WebSocket, session: Session, update: MeshUpdate): void {
    for (const frame of update.frames) {
      if (!sendText(socket, frame)) return
      count('mesh_frames_sent')
      count('mesh_bytes_sent', frame.length)
    }
    if (update.snapshot) count('mesh_snapshots_sent')
    this.#update(socket, session, { mesh: update.position })
  }

  async #route(from: NodeId, signals: SignalFrame['signals']): Promise<void> {
    const { shards } = await readConfig(this.env)
    const byShard = Map.groupBy(signals, ({ to }) => shardName(to, shards))
    const own = shardName(from, shards)
    await Promise.all(
      [...byShard].map(async ([shard, part]) => {
        if (shard === own) return this.deliver(from, part)
        await callObject(this.env.SESSION_SHARD, shard, (stub) => stub.deliver(from, part))
      }),
    )
  }

  /** The newest session is the node; older ones are told so and closed. */
  #supersede(node: NodeId, newest: WebSocket): boolean {
    const older = this.ctx.getWebSockets(node).filter((socket) => socket !== newest)
    let replaced = false
    for (const socket of older) {
      if (this.#session(socket)?.attachment.state !== 'live') continue
      sendError(socket, 'E_SESSION_SUPERSEDED')
      this.#close(socket, CLOSE.superseded, 'E_SESSION_SUPERSEDED')
      replaced = true
    }
    return replaced
  }

  #violation(socket: WebSocket, session: Session, code: ErrorCode): void {
    count('frames_refused')
    sendError(socket, code)
    const violations = session.attachment.violations + 1
    this.#update(socket, session, { violations })
    if (violations >= MAX_VIOLATIONS) this.#close(socket, CLOSE.violations, code)
  }

  #closeUnregistered(socket: WebSocket): void {
    const session = this.#session(socket)
    if (
      session === undefined ||
      session.attachment.state === 'live' ||
      session.attachment.state === 'closing'
    )
      return
    sendError(socket, 'E_REGISTER_TIMEOUT')
    this.#close(socket, CLOSE.registerTimeout, 'E_REGISTER_TIMEOUT')
  }

  /** Ends a session from our side: presence first, since the close event finds the session closing and leaves it alone. */
  #close(socket: WebSocket, code: number, reason: string): void {
    this.#ended(socket)
    closeQuietly(socket, code, reason)
  }

  #ended(socket: WebSocket): void {
    const session = this.#session(socket)
    if (session === undefined || session.attachment.state === 'closing') return
    clearTimeout(this.#registerTimers.get(socket) ?? null)
    const wasLive = session.attachment.state === 'live'
    const { mesh: _, ...rest } = session.attachment
    const ended: Attachment = { ...rest, state: 'closing' }
    this.#attachments.set(socket, ended)
    try {
      socket.serializeAttachment(ended)
    } catch {
      // The socket is gone, and its attachment with it.
    }
    if (wasLive) this.#recordPresence(session.node, this.#seenAt(socket, session.attachment))
  }

  #recordPresence(node: NodeId, seenAt: number): void {
    this.#sql.run(
      'INSERT INTO presence (node_id, seen_at) VALUES (?, ?) ON CONFLICT (node_id) DO UPDATE SET seen_at = excluded.seen_at',
      node,
      seenAt,
    )
  }

  #seenAt(socket: WebSocket, attachment: Attachment): number {
    const pinged = this.ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? 0
    return Math.max(pinged, attachment.seenAt)
  }

  #session(socket: WebSocket): Session | undefined {
    const attachment = this.#attachments.get(socket) ?? readAttachment(socket)
    if (attachment === undefined) return undefined
    this.#attachments.set(socket, attachment)
    return { node: attachment.node, attachment }
  }

  /** Starts from the socket's newest attachment: another frame may have changed it while this one awaited. */
  #update(socket: WebSocket, session: Session, change: Partial<Attachment>): Session {
    const current = this.#attachments.get(socket) ?? session.attachment
    const attachment = updateAttachment(socket, current, change)
    this.#attachments.set(socket, attachment)
    return { node: session.node, attachment }
  }

  #bucket(socket: WebSocket): TokenBucket {
    const bucket = this.#buckets.get(socket) ?? new TokenBucket(FRAME_BURST, FRAMES_PER_SECOND)
    this.#buckets.set(socket, bucket)
    return bucket
  }

  #fleet<P>(work: (fleet: DurableObjectStub<Fleet>) => P): Promise<Awaited<P>> {
    return callObject(this.env.FLEET, FLEET_OBJECT, work)
  }
}
