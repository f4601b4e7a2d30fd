/** The running agent: its session with the gateway, and what feeds on it. Each part works on when another is away. */
import { PROTOCOL_VERSION } from '../protocol/version.ts'
import type { Clock } from './clock.ts'
import type { JoinedNode } from './joined-node.ts'
import type { AgentStatus } from './local-status.ts'
import type { Log } from './log.ts'
import type { MeshRuntime } from './mesh-runtime.ts'
import type { PushedFrame } from './session/session.ts'
import { SessionSupervisor } from './session/supervisor.ts'
import { HostTelemetry } from './telemetry/host.ts'
import { TelemetryReporter } from './telemetry/reporter.ts'
import { AGENT_VERSION } from './version.ts'

const SESSION_PATH = '/v1/session'

interface Options {
  readonly node: JoinedNode
  readonly clock: Clock
  readonly log: Log
  /** Undefined with `--no-mesh`. */
  readonly mesh: MeshRuntime | undefined
}

export class RunningAgent {
  readonly #options: Options
  readonly #supervisor: SessionSupervisor
  readonly #reporter: TelemetryReporter

  constructor(options: Options) {
    const { node, clock, log, mesh } = options
    this.#options = options
    const host = new HostTelemetry()
    this.#reporter = new TelemetryReporter({
      clock,
      log,
      sample: () => ({ ...host.sample(), ...(mesh && { mesh: mesh.reachability }) }),
      send: (n, telemetry) => this.#supervisor.send({ type: 'telemetry', n, telemetry }),
    })
    this.#supervisor = new SessionSupervisor({
      clock,
      log,
      gatewayClock: node.gatewayClock,
      dial: async () =>
        node.connection.webSocket(SESSION_PATH, await node.client.upgradeHeaders(SESSION_PATH)),
      register: () => ({
        type: 'register',
        protocol: PROTOCOL_VERSION,
        agent: AGENT_VERSION,
        mesh: mesh !== undefined,
        ...(mesh?.position && { at: mesh.position }),
      }),
      onRegistered: ({ settings, ip4 }) => {
        if (ip4 !== node.state.node.ipv4) {
          log.error('the gateway has given this node another address', {
            fix: 'clawnode join, then restart the agent',
          })
        }
        this.#reporter.start(settings.telemetryMs)
        mesh?.connected((frame) => this.#supervisor.send(frame))
      },
      onFrame: (frame) => this.#receive(frame),
      onLost: () => {
        this.#reporter.stop()
        mesh?.disconnected()
      },
    })
  }

  /** Until the signal aborts, or the node is removed from its fleet. */
  run(signal: AbortSignal): Promise<'stopped' | 'removed'> {
    return this.#supervisor.run(signal)
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
      problem: problem ?? null,
      gateway: node.state.gateway.url,
      ipv4,
      ipv6,
      ...(await meshStatus(mesh)),
    }
  }

  #receive(frame: PushedFrame): void {
    if (frame.type === 'ack') this.#reporter.acknowledge(frame.n)
    else this.#options.mesh?.receive(frame)
  }
}

async function meshStatus(
  mesh: MeshRuntime | undefined,
): Promise<Pick<AgentStatus, 'interface' | 'mesh' | 'peers'>> {
  if (mesh === undefined) return { interface: null, mesh: null, peers: [] }
  const { interface: name, backend, lastError, peers } = await mesh.status()
  return {
    interface: name,
    mesh: { backend: backend ?? null, problem: lastError ?? null },
    peers: [...peers],
  }
}
