/**
 * The sessions of the nodes that hash to this shard: their sockets, which hibernate; their presence, newest telemetry and place in the
 * mesh log, which live in the sockets' attachments; and the check of every proof these nodes present. The truth about nodes is Fleet's.
 *
 * Rows are written when a session begins or ends and when a proof is used, never for a heartbeat or telemetry.
 */
import { DurableObject } from 'cloudflare:workers'
import { sessionTranscript, signAsGateway } from '../crypto/gateway-proof.ts'
import type { ProvenRequest } from '../crypto/request-proof.ts'
import type { ErrorCode, Refusal } from '../protocol/errors.ts'
import {
  CLOSE,
  type MeshQuestion,
  type NodeFrame,
  PING,
  PONG,
  type RegisterFrame,
  type Settings,
  type SignalFrame,
} from '../protocol/frames.ts'
import { type Cidr, type NodeId, type SecretName, SessionId } from '../protocol/ids.ts'
import {
  HEARTBEAT_INTERVAL_MS,
  MAX_SOCKETS_PER_NODE,
  MAX_VIOLATIONS,
  OFFLINE_AFTER_MS,
  REGISTER_TIMEOUT_MS,
  TELEMETRY_INTERVAL_MS,
} from '../protocol/limits.ts'
import { MaskedId } from '../protocol/masked-id.ts'
import { err, type Result } from '../protocol/result.ts'
import { shardName } from '../protocol/shard.ts'
import { OLDEST_SUPPORTED_PROTOCOL_VERSION, PROTOCOL_VERSION } from '../protocol/version.ts'
import { AUDIT_OBJECT, callObject, FLEET_OBJECT, isUnavailable } from './call-object.ts'
import { closeQuietly, sendError, sendFrame } from './close.ts'
import { readConfig } from './config.ts'
import { count, readCounters } from './counters.ts'
import type { Env } from './env.ts'
import type { Fleet } from './fleet.ts'
import type { MeshPlacesNow } from './fleet-mesh.ts'
import { readFrame } from './frame-reader.ts'
import { MeshAcks } from './mesh-acks.ts'
import { audienceOf, isBehind, MeshDelivery, type MeshReceipt } from './mesh-delivery.ts'
import type { MeshPublication } from './mesh-fanout.ts'
import { type Authenticated, NodeAuthenticator, type ProofUse } from './node-authenticator.ts'
import { NodeQuestions } from './node-questions.ts'
import { problemResponse } from './problem.ts'
import { sawOurCertificate } from './registration.ts'
import { relaysFor } from './relays.ts'
import { REPLAY_MIGRATION, ReplayCache } from './replay-cache.ts'
import { SessionRequests } from './session-requests.ts'
import { type Presence, SESSION_MIGRATIONS, Sessions } from './sessions.ts'
import { Sql } from './sql.ts'

export class SessionShard extends DurableObject<Env> {
  readonly #authenticator: NodeAuthenticator
  readonly #sessions: Sessions
  readonly #mesh: MeshDelivery
  readonly #acks: MeshAcks
  readonly #questions = new NodeQuestions()
  readonly #requests: SessionRequests
  readonly #registerTimers = new WeakMap<WebSocket, number>()
  /** By which origin the node knows this gateway. Needed as long as the timer, which keeps it in memory. */
  readonly #origins = new WeakMap<WebSocket, string>()

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
    this.#acks = new MeshAcks({
      sessions: this.#sessions,
      audit: (...entry) => this.#audit(...entry),
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
    // A timer, not an alarm: an alarm is a row. A pending timer keeps the object from hibernating, so it cannot be lost with the memory.
    this.#registerTimers.set(
      server,
      setTimeout(() => this.#closeUnregistered(server), REGISTER_TIMEOUT_MS),
    )
    this.#origins.set(server, authenticated.value.origin)
    count('session_upgrades')
    return new Response(null, { status: 101, webSocket: client })
  }

  /** The only catch of a session, as the edge has one: without it a frame that fails has no answer, and its sender waits. */
  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    count('object_wakeups_by_frame')
    try {
      await this.#receive(socket, message)
    } catch (error) {
      this.#failed(socket, error)
    }
  }

  async #receive(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const session = this.#sessions.get(socket)
    if (session === undefined) return closeQuietly(socket, CLOSE.goingAway)
    if (session.state === 'closing') return
    if (!this.#sessions.mayReceive(socket, Date.now())) return this.#violation(socket, 'E_FRAME_RATE')
    const frame = readFrame(message)
    if (!frame.ok) return this.#violation(socket, frame.error)
    const isFirst = session.state === 'opened'
    if (session.state === 'registering' || isFirst !== (frame.value.type === 'register')) {
      return this.#violation(socket, 'E_FRAME_OUT_OF_ORDER')
    }
    await this.#handle(socket, session.node, frame.value)
  }

  override webSocketClose(socket: WebSocket, code: number): void {
    count('object_wakeups_by_close')
    this.#close(socket, code)
  }

  override webSocketError(socket: WebSocket): void {
    this.#close(socket, CLOSE.goingAway)
  }

  /** Mesh changes for the listeners here. */
  publish(publication: MeshPublication): Promise<MeshReceipt> {
    return this.#mesh.publish(publication)
  }

  /**
   * Hands signals of one node to others whose sockets are here; one for an absent node is dropped, its sender will hear from it.
   * @param audience the sender's class; undefined if it takes no part in the mesh.
   */
  async deliver(from: NodeId, audience: number | undefined, signals: SignalFrame['signals']): Promise<void> {
    for (const { to, sealed } of signals) {
      for (const socket of this.ctx.getWebSockets(to)) {
        const session = this.#sessions.get(socket)
        if (session?.mesh === undefined) continue
        const isWanted = await this.#mesh.mayHear(session, audience)
        if (isWanted) sendFrame(socket, { type: 'signal', from, sealed })
        count(isWanted ? 'signals_routed' : 'signals_refused')
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

  /** Cuts a node off until it is released. */
  hold(node: NodeId): void {
    this.#authenticator.forget(node)
    for (const socket of this.ctx.getWebSockets(node)) {
      sendError(socket, 'E_NODE_QUARANTINED')
      this.#close(socket, CLOSE.quarantined, 'E_NODE_QUARANTINED')
    }
  }

  /** Lets a released node in again, whatever generation it comes with. */
  welcomeBack(node: NodeId): void {
    this.#authenticator.forget(node)
    this.#sessions.forgetGeneration(node)
  }

  /** Which of the networks behind the node it is to forward to. */
  tellRoutes(node: NodeId, networks: readonly Cidr[]): void {
    for (const socket of this.ctx.getWebSockets(node)) {
      if (this.#sessions.get(socket)?.state === 'live')
        sendFrame(socket, { type: 'routes', approved: [...networks] })
    }
  }

  /** What a session is told at its beginning is another now. */
  restart(node: NodeId): void {
    this.#authenticator.forget(node)
    for (const socket of this.ctx.getWebSockets(node)) this.#close(socket, CLOSE.goingAway)
  }

  /** What is remembered of the node has changed in the registry. */
  forget(node: NodeId): void {
    this.#authenticator.forget(node)
  }

  /** Asks the node for a new identity key; one that is not here is asked when it registers. */
  askForRotation(node: NodeId): void {
    this.#authenticator.forget(node)
    const live = this.ctx.getWebSockets(node).filter((socket) => this.#sessions.get(socket)?.state === 'live')
    for (const socket of live) sendFrame(socket, { type: 'rotate_identity' })
  }

  /** Asks the node for another WireGuard key; one that is not here is asked when it registers. */
  askForWireguardRotation(node: NodeId): void {
    this.#authenticator.forget(node)
    for (const socket of this.ctx.getWebSockets(node))
      if (this.#sessions.get(socket)?.state === 'live') sendFrame(socket, { type: 'rotate_wireguard' })
  }

  /** Tells those of these nodes that are here; one that is not asks when it is. */
  announceSecret(nodes: readonly NodeId[], name: SecretName, version: number): void {
    this.#requests.changed(name)
    for (const node of nodes) {
      for (const socket of this.ctx.getWebSockets(node)) {
        if (this.#sessions.get(socket)?.state === 'live')
          sendFrame(socket, { type: 'secret_changed', name, version })
      }
    }
  }

  /** Asks a node about its mesh. @returns what it has sealed for whoever asks. */
  async ask(node: NodeId, question: MeshQuestion): Promise<Result<string, ErrorCode>> {
    const socket = this.ctx
      .getWebSockets(node)
      .find((candidate) => this.#sessions.get(candidate)?.state === 'live')
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
    const newest = new Map(places.map(({ audience, seq }) => [audience, seq]))
    for (const socket of this.ctx.getWebSockets()) {
      const session = this.#sessions.get(socket)
      if (session?.state !== 'live') continue
      if (now - this.#sessions.seenAt(socket, session) > OFFLINE_AFTER_MS) {
        sendError(socket, 'E_LEASE_EXPIRED')
        this.#close(socket, CLOSE.leaseExpired, 'E_LEASE_EXPIRED')
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
        return this.#register(socket, node, frame)
      case 'telemetry':
        this.#sessions.update(socket, { seenAt: Date.now(), telemetry: frame.telemetry })
        return sendFrame(socket, { type: 'ack', n: frame.n })
      case 'signal':
        return this.#route(socket, node, frame.signals)
      case 'mesh_resync':
        if (this.#sessions.get(socket)?.mesh === undefined)
          return this.#violation(socket, 'E_FRAME_OUT_OF_ORDER')
        if (!this.#sessions.mayResync(socket, Date.now())) return this.#violation(socket, 'E_FRAME_RATE')
        return this.#mesh.resync(socket, frame.at)
      case 'mesh_ack':
        if (this.#sessions.get(socket)?.mesh === undefined)
          return this.#violation(socket, 'E_FRAME_OUT_OF_ORDER')
        return this.#acks.note(socket, frame)
      case 'mesh_answer':
        return this.#questions.answer(node, frame.request, frame.sealed)
      case 'request':
        return sendFrame(socket, await this.#requests.answer(node, frame))
      default:
        return frame satisfies never
    }
  }

  async #register(socket: WebSocket, id: NodeId, frame: RegisterFrame): Promise<void> {
    const opened = this.#sessions.get(socket)
    if (opened === undefined) return
    if (frame.protocol < OLDEST_SUPPORTED_PROTOCOL_VERSION)
      return this.#refuse(socket, 'E_PROTOCOL_VERSION', CLOSE.violations)
    this.#sessions.update(socket, { state: 'registering' })
    const config = await readConfig(this.env)
    const node = await this.#authenticator.node(id)
    if (node === undefined || node.record.removed) return this.revoke(id)
    if (!(await sawOurCertificate(frame, node.key, opened.proof, config.tlsSpki))) {
      await this.#audit(id, 'session.intercepted', 'E_CHANNEL')
      return this.#refuse(socket, 'E_CHANNEL', CLOSE.intercepted)
    }
    if (this.#isOvertaken(id, opened.openedAt))
      return this.#refuse(socket, 'E_SESSION_SUPERSEDED', CLOSE.superseded)
    if (!this.#sessions.advance(id, frame.generation, Date.now())) return this.#quarantine(id)

    const { agent, mesh, at, generation, offers = [] } = frame
    const update = await this.#fleet((fleet) => fleet.register({ node: id, agent, mesh, at, offers }))
    if (update === undefined) return node.record.quarantine === undefined ? this.revoke(id) : this.hold(id)
    const protocol = Math.min(frame.protocol, PROTOCOL_VERSION)
    const time = Date.now()
    const { fleet, ipv4 } = node.record
    const leaseMs = config.meshLeaseMs
    const bound = { fleet, node: id, proof: opened.proof, generation, protocol, time, leaseMs }
    const transcript = sessionTranscript(bound)
    const gateway = await signAsGateway(config.signing, transcript)
    // From here to the end of the answer nothing awaits: what is published meanwhile finds the session either not yet or wholly there.
    if (this.#sessions.get(socket)?.state !== 'registering') return
    const replaced = this.#supersede(id, socket)
    const { position, audience } = update
    this.#sessions.update(socket, { state: 'live', seenAt: time, ...(mesh && { mesh: position, audience }) })
    clearTimeout(this.#registerTimers.get(socket) ?? null)
    count('sessions_registered')
    const settings: Settings = {
      heartbeatMs: HEARTBEAT_INTERVAL_MS,
      telemetryMs: TELEMETRY_INTERVAL_MS,
      stun: [...config.stun],
      relays: relaysFor(config, this.#origins.get(socket)),
      leaseMs,
    }
    sendFrame(socket, {
      type: 'registered',
      protocol,
      settings,
      fleet,
      ip4: ipv4,
      ip4Range: config.range.cidr,
      time,
      gateway,
      ...(replaced && { replaced: true }),
    })
    if (node.record.rotating) sendFrame(socket, { type: 'rotate_identity' })
    if (node.record.wireguardRotating) sendFrame(socket, { type: 'rotate_wireguard' })
    if (!mesh) return
    this.#mesh.send(socket, update)
    // Asked for only now: whatever changes from here on is told to this session as well.
    if (offers.length > 0)
      sendFrame(socket, { type: 'routes', approved: await this.#fleet((fleet) => fleet.routedTo(id)) })
    // What was published while the fleet was answering passed this socket by.
    await this.#mesh.catchUp(socket)
  }

  /** Two machines speak as one node. Which of them is the node is for its owner to say: until then neither is. */
  async #quarantine(node: NodeId): Promise<void> {
    const reason = 'two machines use its identity: a session came with a generation that was used before'
    await this.#audit(node, 'node.quarantine', reason)
    await this.#fleet((fleet) => fleet.hold(node, reason))
  }

  async #audit(node: NodeId, action: string, reason: string): Promise<void> {
    const entry = {
      actor: 'gateway',
      action,
      target: `node:${node}`,
      outcome: 'denied' as const,
      reason,
      requestId: '',
    }
    await callObject(this.env.AUDIT_LOG, AUDIT_OBJECT, (log) => log.append([entry]))
  }

  async #route(socket: WebSocket, from: NodeId, signals: SignalFrame['signals']): Promise<void> {
    const session = this.#sessions.get(socket)
    const audience = session?.mesh && audienceOf(session)
    const { shards } = await readConfig(this.env)
    const byShard = Map.groupBy(signals, ({ to }) => shardName(to, shards))
    const own = shardName(from, shards)
    await Promise.all(
      [...byShard].map(async ([shard, part]) => {
        if (shard === own) return this.deliver(from, audience, part)
        await callObject(this.env.SESSION_SHARD, shard, (stub) => stub.deliver(from, audience, part))
      }),
    )
  }

  /** A socket opened earlier whose register was long on its way is no clone, only late. */
  #isOvertaken(node: NodeId, openedAt: number): boolean {
    return this.ctx.getWebSockets(node).some((socket) => {
      const session = this.#sessions.get(socket)
      return session?.state === 'live' && session.openedAt > openedAt
    })
  }

  /** The newest session is the node; older ones are told so and closed. */
  #supersede(node: NodeId, newest: WebSocket): boolean {
    const older = this.ctx
      .getWebSockets(node)
      .filter((socket) => socket !== newest && this.#sessions.get(socket)?.state === 'live')
    for (const socket of older) this.#refuse(socket, 'E_SESSION_SUPERSEDED', CLOSE.superseded)
    return older.length > 0
  }

  #violation(socket: WebSocket, code: ErrorCode): void {
    count('frames_refused')
    sendError(socket, code)
    const violations = (this.#sessions.get(socket)?.violations ?? 0) + 1
    this.#sessions.update(socket, { violations })
    if (violations >= MAX_VIOLATIONS) this.#close(socket, CLOSE.violations, code)
  }

  /** A session that is up stays up: the sweep mends what the frame did not do. One that is not has to begin anew. */
  #failed(socket: WebSocket, error: unknown): void {
    const { proof = '', node, state } = this.#sessions.get(socket) ?? {}
    console.error({
      event: 'frame_failed',
      session: String(new MaskedId(proof)),
      node,
      state,
      error: String(error),
    })
    const code = isUnavailable(error) ? 'E_UNAVAILABLE' : 'E_INTERNAL'
    if (state === 'live') sendError(socket, code)
    else this.#refuse(socket, code, CLOSE.failed)
  }

  #closeUnregistered(socket: WebSocket): void {
    const state = this.#sessions.get(socket)?.state
    if (state === 'opened' || state === 'registering')
      this.#refuse(socket, 'E_REGISTER_TIMEOUT', CLOSE.registerTimeout)
  }

  #refuse(socket: WebSocket, code: ErrorCode, closeCode: number): void {
    sendError(socket, code)
    this.#close(socket, closeCode, code)
  }

  /** Presence first, since the close event finds the session over and leaves it alone. */
  #close(socket: WebSocket, code: number, reason = ''): void {
    clearTimeout(this.#registerTimers.get(socket) ?? null)
    this.#sessions.end(socket)
    closeQuietly(socket, code, reason)
  }

  #fleet<P>(work: (fleet: DurableObjectStub<Fleet>) => P): Promise<Awaited<P>> {
    return callObject(this.env.FLEET, FLEET_OBJECT, work)
  }
}
