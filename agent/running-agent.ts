/** The running agent: its session with the gateway, and what feeds on it. Each part works on when another is away. */
import type { Settings } from '../protocol/frames.ts'
import type { Ipv4, SecretName } from '../protocol/ids.ts'
import { AuditWitness, type WitnessStatus } from './audit-witness.ts'
import type { Clock } from './clock.ts'
import type { NodeConfig } from './config/node-config.ts'
import { rotateIdentity } from './identity-rotation.ts'
import type { JoinedNode } from './joined-node.ts'
import type { AgentStatus } from './local-status.ts'
import type { Log } from './log.ts'
import type { MeshRuntime } from './mesh-runtime.ts'
import { takeAddress } from './new-address.ts'
import { forgetCached } from './secrets/secret-cache.ts'
import { type SecretNotice, SecretWatchers } from './secrets/secret-notices.ts'
import { dial } from './session/dial.ts'
import type { PushedFrame } from './session/session.ts'
import { type CarriedAnswer, type CarriedRequest, SessionRequests } from './session/session-requests.ts'
import { SessionSupervisor } from './session/supervisor.ts'
import { HostTelemetry } from './telemetry/host.ts'
import { TelemetryReporter } from './telemetry/reporter.ts'
import { AGENT_VERSION } from './version.ts'
import { WireguardRotation } from './wireguard-rotation.ts'

interface Options {
  readonly node: JoinedNode
  readonly clock: Clock
  readonly log: Log
  /** Undefined with `--no-mesh`. */
  readonly mesh: MeshRuntime | undefined
  readonly config: Pick<NodeConfig, 'interface' | 'routes' | 'wireguardRotationMs'>
}

export class RunningAgent {
  readonly #options: Options
  readonly #supervisor: SessionSupervisor
  readonly #reporter: TelemetryReporter
  readonly #secretWatchers = new SecretWatchers()
  readonly #requests: SessionRequests
  readonly #witness: AuditWitness
  readonly #wireguard: WireguardRotation
  #rotation: Promise<void> | undefined

  constructor(options: Options) {
    const { node, clock, log, mesh, config } = options
    this.#options = options
    const host = new HostTelemetry()
    this.#reporter = new TelemetryReporter({
      clock,
      log,
      sample: () => ({ ...host.sample(), ...(mesh && { mesh: mesh.reachability }) }),
      send: (n, telemetry) => this.#supervisor.send({ type: 'telemetry', n, telemetry }),
    })
    this.#requests = new SessionRequests({ clock, send: (frame) => this.#supervisor.send(frame) })
    this.#witness = new AuditWitness({
      directory: node.directory,
      fleet: node.state.node.fleet,
      keys: () => node.gatewayKeys.accepted,
      get: (path) => node.client.get(path),
      clock,
      log,
    })
    this.#wireguard = new WireguardRotation({
      node,
      mesh,
      clock,
      log,
      everyMs: options.config.wireguardRotationMs,
    })
    this.#supervisor = new SessionSupervisor({
      clock,
      log,
      name: node.state.node.name,
      gatewayClock: node.gatewayClock,
      dial: () =>
        dial(node, () => ({
          agent: AGENT_VERSION,
          mesh: mesh !== undefined,
          ...(mesh?.position && { at: mesh.position }),
          ...(mesh !== undefined && config.routes.length > 0 && { offers: [...config.routes] }),
        })),
      onRegistered: ({ settings, ip4, ip4Range, protocol }) => {
        this.#reporter.start(settings.telemetryMs)
        mesh?.connected((frame) => this.#supervisor.send(frame), settings)
        void this.#takeAddress(ip4, ip4Range, settings)
        this.#requests.connected(protocol)
        this.#secretWatchers.checkAll()
        this.#witness.connected()
        this.#wireguard.connected()
      },
      onPong: () => mesh?.heard(),
      onFrame: (frame) => this.#receive(frame),
      onLost: () => {
        this.#reporter.stop()
        this.#requests.disconnected()
        this.#witness.disconnected()
        this.#wireguard.disconnected()
        mesh?.disconnected()
      },
      onQuarantined: () => {
        mesh?.hold()
        this.#forgetSecrets()
      },
    })
  }

  /** Until the signal aborts, or the node is removed from its fleet. */
  async run(signal: AbortSignal): Promise<'stopped' | 'removed'> {
    const outcome = await this.#supervisor.run(signal)
    if (outcome === 'removed') this.#forgetSecrets()
    return outcome
  }

  /** For jobs of this node; `clawnode exec` is one. @returns how to end it. */
  watchSecrets(names: readonly SecretName[], tell: (notice: SecretNotice) => void): () => void {
    return this.#secretWatchers.add(names, tell)
  }

  /** Carries a command's request to the gateway; undefined if the session cannot. */
  carry(request: CarriedRequest): Promise<CarriedAnswer | undefined> {
    return this.#requests.ask(request)
  }

  /** Requests that come meanwhile share the one that is under way. */
  rotateIdentity(): Promise<void> {
    const { node, log } = this.#options
    this.#rotation ??= rotateIdentity(node)
      .then(() => log.info('this node has a new identity key', { key: node.keys.identity.publicKey }))
      .finally(() => {
        this.#rotation = undefined
      })
    return this.#rotation
  }

  rotateWireguard(): Promise<void> {
    return this.#wireguard.rotate()
  }

  async status(): Promise<AgentStatus> {
    const { node, mesh } = this.#options
    const { session, since, problem } = this.#supervisor.status
    const { id, name, ipv4, ipv6 } = node.state.node
    return {
      id,
      name,
      session,
      since: new Date(since).toISOString(),
      problem: problem === undefined ? null : { ...problem, fix: problem.fix ?? null },
      gateway: node.state.gateway.url,
      ipv4,
      ipv6,
      audit: auditStatus(this.#witness.status),
      ...(await meshStatus(mesh)),
    }
  }

  #receive(frame: PushedFrame): void {
    switch (frame.type) {
      case 'ack':
        this.#reporter.acknowledge(frame.n)
        break
      case 'answer':
        this.#requests.answered(frame)
        break
      case 'rotate_identity':
        this.rotateIdentity().catch((error: unknown) => this.#rotationFailed(error))
        break
      case 'rotate_wireguard':
        this.rotateWireguard().catch((error: unknown) => this.#wireguard.report(error))
        break
      case 'secret_changed':
        // Before anybody fetches it anew, and keeps it.
        this.#forgetSecrets([frame.name])
        this.#secretWatchers.changed(frame.name, frame.version)
        break
      default:
        this.#options.mesh?.receive(frame)
    }
  }

  /** The interface is made anew with it. */
  async #takeAddress(ip4: Ipv4, ip4Range: string | undefined, settings: Settings): Promise<void> {
    const { node, log, mesh, config } = this.#options
    const iface = mesh && config.interface
    try {
      if (!(await takeAddress(node, { ip4, ip4Range }, iface, log))) return
      mesh?.hold()
      mesh?.connected((frame) => this.#supervisor.send(frame), settings)
    } catch (error) {
      log.error('another address could not be taken', { problem: String(error) })
    }
  }

  /** @param names all of them if there are none given. */
  #forgetSecrets(names?: readonly SecretName[]): void {
    const { node, log } = this.#options
    forgetCached(node.directory, log, names)
  }

  #rotationFailed(error: unknown): void {
    this.#options.log.error('the identity key was not replaced; the next session tries again', {
      problem: error instanceof Error ? error.message : String(error),
    })
  }
}

const auditStatus = ({ entries, at, problem }: WitnessStatus): AgentStatus['audit'] => ({
  entries,
  at: at === null ? null : new Date(at).toISOString(),
  problem:
    problem === undefined ? null : { code: problem.code, message: problem.message, fix: problem.fix ?? null },
})

const HELD = 'taken away while this node is in quarantine'

async function meshStatus(
  mesh: MeshRuntime | undefined,
): Promise<Pick<AgentStatus, 'interface' | 'mesh' | 'peers'>> {
  if (mesh === undefined) return { interface: null, mesh: null, peers: [] }
  const status = await mesh.status()
  if (status === undefined)
    return { interface: null, mesh: { backend: null, problem: HELD, names: null, routes: [] }, peers: [] }
  const { interface: name, backend, lastError, names = null, routes, peers } = status
  return {
    interface: name,
    mesh: { backend: backend ?? null, problem: lastError ?? null, names, routes: [...routes] },
    peers: [...peers],
  }
}
