/** The agent's session machinery on a clock in the test's hands, without mesh and telemetry. */
import type { JoinedNode } from '../../agent/joined-node.ts'
import { createLog } from '../../agent/log.ts'
import { dial } from '../../agent/session/dial.ts'
import type { PushedFrame } from '../../agent/session/session.ts'
import { SessionSupervisor } from '../../agent/session/supervisor.ts'
import type { GatewayConnection } from '../../host/gateway-connection.ts'
import type { ManualClock } from '../support/manual-clock.ts'

export class TestAgent {
  readonly lines: string[] = []
  readonly frames: PushedFrame[] = []
  readonly outcome: Promise<'stopped' | 'removed'>
  readonly supervisor: SessionSupervisor
  readonly connection: GatewayConnection
  readonly stop: () => void
  lost = 0
  quarantines = 0
  readonly #watchers: (() => void)[] = []

  constructor(node: JoinedNode, clock: ManualClock) {
    const controller = new AbortController()
    this.connection = node.connection
    this.stop = () => controller.abort()
    this.supervisor = new SessionSupervisor({
      clock,
      name: node.state.node.name,
      gatewayClock: node.gatewayClock,
      log: createLog({ level: 'debug', write: (line) => this.lines.push(line), now: () => clock.now() }),
      dial: () => dial(node, () => ({ agent: 'clawnode/test', mesh: false })),
      onRegistered: () => this.#look(),
      onFrame: (frame) => {
        this.frames.push(frame)
        this.#look()
      },
      onLost: () => this.lost++,
      onQuarantined: () => this.quarantines++,
    })
    this.outcome = this.supervisor.run(controller.signal)
  }

  /** Resolves when the agent knows that its session is up. */
  up(): Promise<void> {
    return this.#until(() => this.supervisor.status.session === 'connected')
  }

  /** Resolves when this many frames were handed on. */
  pushed(count: number): Promise<void> {
    return this.#until(() => this.frames.length >= count)
  }

  #until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve()
    return new Promise((resolve) => this.#watchers.push(() => condition() && resolve()))
  }

  #look(): void {
    for (const look of this.#watchers) look()
  }
}
