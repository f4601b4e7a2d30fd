/**
 * The sessions of the nodes that hash to this shard: their sockets, which hibernate; their presence, newest telemetry and place in the
 * mesh log, which live in the sockets' attachments; and the check of every proof these nodes present. The truth about nodes is Fleet's.
 *
 * Rows are written when a session begins or ends and when a proof is used, never for a heartbeat or telemetry.
 */
import { DurableObject } from 'cloudflare:workers'
import type { ProvenRequest } from '../crypto/request-proof.ts'
import type { ErrorCode, Refusal } from '../protocol/errors.ts'
import { CLOSE, type MeshQuestion, type NodeFrame, PING, PONG, type SignalFrame } from '../protocol/frames.ts'
import { type Cidr, type NodeId, type SecretName, SessionId } from '../protocol/ids.ts'
import { MAX_SOCKETS_PER_NODE, OFFLINE_AFTER_MS } from '../protocol/limits.ts'
import { err, type Result } from '../protocol/result.ts'
import { callObject, FLEET_OBJECT } from './call-object.ts'
import { closeQuietly, sendError, sendFrame } from './close.ts'
import { readConfig } from './config.ts'
import { count, readCounters } from './counters.ts'
import type { Env } from './env.ts'
import type { Fleet } from './fleet.ts'
import type { MeshPlacesNow } from './fleet-mesh.ts'
import { readFrame } from './frame-reader.ts'
import { recordFinding } from './gateway-entry.ts'
import { MeshAcks } from './mesh-acks.ts'
import { audienceOf, isBehind, MeshDelivery, type MeshReceipt } from './mesh-delivery.ts'
import type { MeshPublication } from './mesh-fanout.ts'
import { MeshSignals } from './mesh-signals.ts'
import { type Authenticated, NodeAuthenticator, type ProofUse } from './node-authenticator.ts'
import { NodeQuestions } from './node-questions.ts'
import { problemResponse } from './problem.ts'
import { REPLAY_MIGRATION, ReplayCache } from './replay-cache.ts'
import { deliverySealer } from './secret-stores.ts'
import { SessionEnds } from './session-ends.ts'
import { SessionRequests } from './session-requests.ts'
import { SessionStart } from './session-start.ts'
import { type Presence, SESSION_MIGRATIONS, Sessions } from './sessions.ts'
import { Sql } from './sql.ts'

export class SessionShard extends DurableObject<Env> {
  readonly #authenticator: NodeAuthenticator
  readonly #sessions: Sessions
  readonly #mesh: MeshDelivery
  readonly #acks: MeshAcks
  readonly #questions = new NodeQuestions()
  readonly #requests: SessionRequests
  readonly #signals: MeshSignals
  readonly #ends: SessionEnds
  readonly #start: SessionStart

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    const sql = new Sql(ctx.storage, [REPLAY_MIGRATION, ...SESSION_MIGRATIONS])
    this.#authenticator = new NodeAuthenticator(new ReplayCache(sql), (id) =>
      this.#fleet((fleet) => fleet.node(id)),
    )
    this.#sessions = new Sessions(ctx, sql)
    this.#mesh = new MeshDelivery(this.#sessions, {
      changesSince: (node, at) => this.#fleet((fleet) => fleet.changesSince(node, at)),
      seenBy: (audience) => this.#fleet((fleet) => fleet.meshSeenBy(audience)),
    })
    this.#signals = new MeshSignals(env, this.#sessions, this.#mesh)
    this.#ends = new SessionEnds(this.#sessions)
    this.#start = new SessionStart({
      env,
      sessions: this.#sessions,
      ends: this.#ends,
      authenticator: this.#authenticator,
      mesh: this.#mesh,
      revoke: (node) => this.revoke(node),
      hold: (node) => this.hold(node),
    })
    this.#acks = new MeshAcks({
      sessions: this.#sessions,
      record: (...finding) => recordFinding(env, ...finding),
      resync: (socket) => this.#mesh.resync(socket, undefined),
    })
    this.#requests = new SessionRequests({
      env,
      authenticate: (jwt, request) => this.authenticate(jwt, request, 'recorded'),
      later: (work) => ctx.waitUntil(work),
    })
    // Belongs to the process, not to storage: set anew each time the object wakes.
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING, PONG))
  }

  /** Checks a node's proof for an ordinary request, and uses it up. */
  async authenticate(
    jwt: string,
    request: ProvenRequest,
    use: ProofUse = 'once',
  ): Promise<Result<Authenticated, Refusal>> {
    const { origins } = await readConfig(this.env)
    return this.#authenticator.authenticate(jwt, request, origins, use)
  }

  /** Uses up a proof that crossed the network in clear. @returns whether it was one of this node's. */
  burn(jwt: string): Promise<boolean> {
    return this.#authenticator.burn(jwt)
  }

  /** The session upgrade; the Worker has found this shard from what the proof claims, the proof itself is checked here. */
  override async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url)
    const authenticated = await this.authenticate(request.headers.get('claw-proof') ?? '', {
      method: request.method,
      path: url.pathname + url.search,
      bodyHash: request.headers.get('claw-body-hash') ?? '',
    })
    if (!authenticated.ok)
      return problemResponse(authenticated.error, request.headers.get('claw-request-id') ?? '')
    const { node } = authenticated.value
    if (this.ctx.getWebSockets(node.id).length >= MAX_SOCKETS_PER_NODE) {
      return problemResponse({ code: 'E_RATE_LIMITED' }, request.headers.get('claw-request-id') ?? '')
    }
    const { 0: client, 1: server } = new WebSocketPair()
    const now = Date.now()
    this.#sessions.open(server, {
      v: 2,
      node: node.id,
      session: SessionId.parse(crypto.randomUUID()),
      proof: authenticated.value.proof.jti,
      openedAt: now,
      seenAt: now,
      state: 'opened',
      violations: 0,
    })
    this.#start.opened(server, authenticated.value.origin)
    count('session_upgrades')
    return new Response(null, { status: 101, webSocket: client })
  }

  /** The only catch of a session, as the edge has one: without it a frame that fails has no answer, and its sender waits. */
  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    count('object_wakeups_by_frame')
    try {
      await this.#receive(socket, message)
    } catch (error) {
      this.#ends.failed(socket, error)
    }
  }

  async #receive(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const session = this.#sessions.get(socket)
    if (session === undefined) return closeQuietly(socket, CLOSE.goingAway)
    if (session.state === 'closing') return
    if (!this.#sessions.mayReceive(socket, Date.now())) return this.#ends.violation(socket, 'E_FRAME_RATE')
    const frame = readFrame(message)
    if (!frame.ok) return this.#ends.violation(socket, frame.error)
    const isFirst = session.state === 'opened'
    if (session.state === 'registering' || isFirst !== (frame.value.type === 'register')) {
      return this.#ends.violation(socket, 'E_FRAME_OUT_OF_ORDER')
    }
    await this.#handle(socket, session.node, frame.value)
  }

  override webSocketClose(socket: WebSocket, code: number): void {
    count('object_wakeups_by_close')
    this.#ends.close(socket, code)
  }

  override webSocketError(socket: WebSocket): void {
    this.#ends.close(socket, CLOSE.goingAway)
  }

  /** Mesh changes for the listeners here. */
  publish(publication: MeshPublication): Promise<MeshReceipt> {
    return this.#mesh.publish(publication)
  }

  /** Hands signals of one node to others whose sockets are here. */
  deliver(from: NodeId, audience: number | undefined, signals: SignalFrame['signals']): Promise<void> {
    return this.#signals.deliver(from, audience, signals)
  }

  /** Cuts a removed node off. */
  revoke(node: NodeId): void {
    this.#authenticator.forget(node)
    for (const socket of this.ctx.getWebSockets(node)) {
      sendFrame(socket, { type: 'revoked' })
      this.#ends.close(socket, CLOSE.removed, 'E_NODE_REMOVED')
    }
  }

  /** Cuts a node off until it is released. */
  hold(node: NodeId): void {
    this.#authenticator.forget(node)
    for (const socket of this.ctx.getWebSockets(node)) {
      sendError(socket, 'E_NODE_QUARANTINED')
      this.#ends.close(socket, CLOSE.quarantined, 'E_NODE_QUARANTINED')
    }
  }

  /** Lets a released node in again, whatever generation it comes with. */
  welcomeBack(node: NodeId): void {
    this.#authenticator.forget(node)
    this.#sessions.forgetGeneration(node)
  }

  /** Which of the networks behind the node it is to forward to. */
  tellRoutes(node: NodeId, networks: readonly Cidr[]): void {
    for (const socket of this.#sessions.live(node))
      sendFrame(socket, { type: 'routes', approved: [...networks] })
  }

  /** What a session is told at its beginning is another now. */
  restart(node: NodeId): void {
    this.#authenticator.forget(node)
    for (const socket of this.ctx.getWebSockets(node)) this.#ends.close(socket, CLOSE.goingAway)
  }

  /** What is remembered of the node has changed in the registry. */
  forget(node: NodeId): void {
    this.#authenticator.forget(node)
  }

  /** Asks the node for a new identity key; one that is not here is asked when it registers. */
  askForRotation(node: NodeId): void {
    this.#authenticator.forget(node)
    for (const socket of this.#sessions.live(node)) sendFrame(socket, { type: 'rotate_identity' })
  }

  /** Asks the node for another WireGuard key; one that is not here is asked when it registers. */
  askForWireguardRotation(node: NodeId): void {
    this.#authenticator.forget(node)
    for (const socket of this.#sessions.live(node)) sendFrame(socket, { type: 'rotate_wireguard' })
  }

  /** Tells those of these nodes that are here; one that is not asks when it is. */
  announceSecret(nodes: readonly NodeId[], name: SecretName, version: number): void {
    this.#requests.changed(name)
    for (const node of nodes)
      for (const socket of this.#sessions.live(node))
        sendFrame(socket, { type: 'secret_changed', name, version })
  }

  /** Asks a node about its mesh. @returns what it has sealed for whoever asks. */
  async ask(node: NodeId, question: MeshQuestion): Promise<Result<string, ErrorCode>> {
    const [socket] = this.#sessions.live(node)
    if (socket === undefined) return err('E_NODE_OFFLINE')
    if (this.#sessions.get(socket)?.mesh === undefined) return err('E_NODE_NO_MESH')
    return this.#questions.ask(node, question.request, () => sendFrame(socket, question))
  }

  presence(nodes: readonly NodeId[]): Presence[] {
    const now = Date.now()
    return nodes.flatMap((node) => this.#sessions.presence(node, now) ?? [])
  }

  /** Once a minute: ends leases that nobody renewed, and mends what a lost publication left behind. */
  async sweep({ epoch, places }: MeshPlacesNow): Promise<void> {
    count('object_wakeups_by_sweep')
    const now = Date.now()
    deliverySealer.forgetOld(now)
    const newest = new Map(places.map(({ audience, seq }) => [audience, seq]))
    for (const socket of this.ctx.getWebSockets()) {
      const session = this.#sessions.get(socket)
      if (session?.state !== 'live') continue
      if (now - this.#sessions.seenAt(socket, session) > OFFLINE_AFTER_MS) {
        sendError(socket, 'E_LEASE_EXPIRED')
        this.#ends.close(socket, CLOSE.leaseExpired, 'E_LEASE_EXPIRED')
      } else if (session.mesh !== undefined && isBehind(session.mesh, epoch, newest.get(audienceOf(session))))
        await this.#mesh.catchUp(socket)
    }
  }

  counters() {
    return readCounters()
  }

  async #handle(socket: WebSocket, node: NodeId, frame: NodeFrame): Promise<void> {
    switch (frame.type) {
      case 'register':
        return this.#start.register(socket, node, frame)
      case 'telemetry':
        this.#sessions.update(socket, { seenAt: Date.now(), telemetry: frame.telemetry })
        return sendFrame(socket, { type: 'ack', n: frame.n })
      case 'signal':
        return this.#signals.route(socket, node, frame.signals)
      case 'mesh_resync':
        if (this.#sessions.get(socket)?.mesh === undefined)
          return this.#ends.violation(socket, 'E_FRAME_OUT_OF_ORDER')
        if (!this.#sessions.mayResync(socket, Date.now())) return this.#ends.violation(socket, 'E_FRAME_RATE')
        return this.#mesh.resync(socket, frame.at)
      case 'mesh_ack':
        if (this.#sessions.get(socket)?.mesh === undefined)
          return this.#ends.violation(socket, 'E_FRAME_OUT_OF_ORDER')
        return this.#acks.note(socket, frame)
      case 'mesh_answer':
        return this.#questions.answer(node, frame.request, frame.sealed)
      case 'request':
        return sendFrame(socket, await this.#requests.answer(node, frame))
      default:
        return frame satisfies never
    }
  }

  #fleet<P>(work: (fleet: DurableObjectStub<Fleet>) => P): Promise<Awaited<P>> {
    return callObject(this.env.FLEET, FLEET_OBJECT, work)
  }
}
