/** From a `register` frame to a session that is up, or to the reason why there is none. */
import { sessionTranscript, signAsGateway } from '../crypto/gateway-proof.ts'
import { CLOSE, type RegisterFrame, type Settings } from '../protocol/frames.ts'
import type { NodeId } from '../protocol/ids.ts'
import { HEARTBEAT_INTERVAL_MS, TELEMETRY_INTERVAL_MS } from '../protocol/limits.ts'
import { OLDEST_SUPPORTED_PROTOCOL_VERSION, PROTOCOL_VERSION } from '../protocol/version.ts'
import { callObject, FLEET_OBJECT } from './call-object.ts'
import { sendFrame } from './close.ts'
import { type Config, readConfig } from './config.ts'
import { count } from './counters.ts'
import type { Env } from './env.ts'
import type { Fleet } from './fleet.ts'
import { recordFinding } from './gateway-entry.ts'
import type { MeshDelivery } from './mesh-delivery.ts'
import type { NodeAuthenticator } from './node-authenticator.ts'
import { sawOurCertificate } from './registration.ts'
import { relaysFor } from './relays.ts'
import type { SessionEnds } from './session-ends.ts'
import type { Sessions } from './sessions.ts'

interface Options {
  readonly env: Env
  readonly sessions: Sessions
  readonly ends: SessionEnds
  readonly authenticator: NodeAuthenticator
  readonly mesh: MeshDelivery
  /** Cuts a node off for good, or until it is released. */
  readonly revoke: (node: NodeId) => void
  readonly hold: (node: NodeId) => void
}

export class SessionStart {
  readonly #options: Options
  /** By which origin the node knows this gateway. Needed as long as the register timer, which keeps it in memory. */
  readonly #origins = new WeakMap<WebSocket, string>()

  constructor(options: Options) {
    this.#options = options
  }

  opened(socket: WebSocket, origin: string): void {
    this.#origins.set(socket, origin)
    this.#options.ends.expectRegister(socket)
  }

  async register(socket: WebSocket, id: NodeId, frame: RegisterFrame): Promise<void> {
    const { env, sessions, ends, authenticator, mesh: delivery, revoke, hold } = this.#options
    const opened = sessions.get(socket)
    if (opened === undefined) return
    if (frame.protocol < OLDEST_SUPPORTED_PROTOCOL_VERSION)
      return ends.refuse(socket, 'E_PROTOCOL_VERSION', CLOSE.violations)
    sessions.update(socket, { state: 'registering' })
    const config = await readConfig(env)
    const node = await authenticator.node(id)
    if (node === undefined || node.record.removed) return revoke(id)
    if (!(await sawOurCertificate(frame, node.key, opened.proof, config.tlsSpki))) {
      await recordFinding(env, id, 'session.intercepted', 'E_CHANNEL')
      return ends.refuse(socket, 'E_CHANNEL', CLOSE.intercepted)
    }
    if (this.#isOvertaken(id, opened.openedAt))
      return ends.refuse(socket, 'E_SESSION_SUPERSEDED', CLOSE.superseded)
    if (!sessions.advance(id, frame.generation, Date.now())) return this.#quarantine(id)

    const { agent, mesh, at, generation, offers = [] } = frame
    const update = await this.#fleet((fleet) => fleet.register({ node: id, agent, mesh, at, offers }))
    if (update === undefined) return node.record.quarantine === undefined ? revoke(id) : hold(id)
    const protocol = Math.min(frame.protocol, PROTOCOL_VERSION)
    const time = Date.now()
    const { fleet, ipv4 } = node.record
    const leaseMs = config.meshLeaseMs
    const bound = { fleet, node: id, proof: opened.proof, generation, protocol, time, leaseMs }
    const gateway = await signAsGateway(config.signing, sessionTranscript(bound))
    // From here to the end of the answer nothing awaits: what is published meanwhile finds the session either not yet or wholly there.
    if (sessions.get(socket)?.state !== 'registering') return
    const replaced = this.#supersede(id, socket)
    const { position, audience } = update
    sessions.update(socket, { state: 'live', seenAt: time, ...(mesh && { mesh: position, audience }) })
    ends.registered(socket)
    count('sessions_registered')
    sendFrame(socket, {
      type: 'registered',
      protocol,
      settings: this.#settings(socket, config),
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
    delivery.send(socket, update)
    // Asked for only now: whatever changes from here on is told to this session as well.
    if (offers.length > 0)
      sendFrame(socket, { type: 'routes', approved: await this.#fleet((stub) => stub.routedTo(id)) })
    // What was published while the fleet was answering passed this socket by.
    await delivery.catchUp(socket)
  }

  #settings(socket: WebSocket, config: Config): Settings {
    return {
      heartbeatMs: HEARTBEAT_INTERVAL_MS,
      telemetryMs: TELEMETRY_INTERVAL_MS,
      stun: [...config.stun],
      relays: relaysFor(config, this.#origins.get(socket)),
      leaseMs: config.meshLeaseMs,
    }
  }

  /** A socket opened earlier whose register was long on its way is no clone, only late. */
  #isOvertaken(node: NodeId, openedAt: number): boolean {
    const { sessions } = this.#options
    return sessions.live(node).some((socket) => (sessions.get(socket)?.openedAt ?? 0) > openedAt)
  }

  /** The newest session is the node; older ones are told so and closed. */
  #supersede(node: NodeId, newest: WebSocket): boolean {
    const { sessions, ends } = this.#options
    const older = sessions.live(node).filter((socket) => socket !== newest)
    for (const socket of older) ends.refuse(socket, 'E_SESSION_SUPERSEDED', CLOSE.superseded)
    return older.length > 0
  }

  /** Two machines speak as one node. Which of them is the node is for its owner to say: until then neither is. */
  async #quarantine(node: NodeId): Promise<void> {
    const reason = 'two machines use its identity: a session came with a generation that was used before'
    await recordFinding(this.#options.env, node, 'node.quarantine', reason)
    await this.#fleet((fleet) => fleet.hold(node, reason))
  }

  #fleet<P>(work: (fleet: DurableObjectStub<Fleet>) => P): Promise<Awaited<P>> {
    return callObject(this.#options.env.FLEET, FLEET_OBJECT, work)
  }
}
