/**
 * Between the session and the mesh: the gateway's pushes go to the engine one after the other, the engine's signals go out paced. The mesh
 * runs from its cached map before there is a session, and goes on when there is none.
 */

import type { NodeFrame } from '../protocol/frames.ts'
import type { NodeId } from '../protocol/ids.ts'
import type { MeshChanges, MeshPosition } from '../protocol/mesh.ts'
import type { Clock } from './clock.ts'
import type { AgentStatus } from './local-status.ts'
import type { Log } from './log.ts'
import type { PushedFrame } from './session/session.ts'
import { type OutgoingSignal, SignalOutbox } from './session/signal-outbox.ts'
import { TokenBucket } from './session/token-bucket.ts'

/** What the runtime needs of the mesh engine. */
export interface MeshEngine {
  readonly position: MeshPosition | undefined
  start(): Promise<void>
  applyChanges(changes: MeshChanges): Promise<'applied' | 'gap'>
  onSignal(from: NodeId, sealed: string): Promise<void>
  onConnected(): void
  status(): Promise<EngineStatus>
  stop(options: { readonly keepInterface: boolean }): Promise<void>
}

export interface EngineStatus {
  readonly peers: AgentStatus['peers']
  readonly reachable: number
}

interface Options {
  readonly clock: Clock
  readonly log: Log
  readonly iface: string
  /** Takes where the engine's signals go. */
  readonly engine: (sendSignals: (signals: readonly OutgoingSignal[]) => void) => MeshEngine
}

type Send = (frame: NodeFrame) => boolean

export class MeshRuntime {
  readonly interface: string
  readonly #log: Log
  readonly #engine: MeshEngine
  readonly #outbox: SignalOutbox
  #send: Send = () => false
  #reachability = { peers: 0, reachable: 0 }
  /** Frames are applied in the order in which they came, whatever the engine awaits in between. */
  #queue: Promise<void> = Promise.resolve()

  constructor({ clock, log, iface, engine }: Options) {
    this.interface = iface
    this.#log = log
    this.#outbox = new SignalOutbox(clock, new TokenBucket(clock), (signals) =>
      this.#send({ type: 'signal', signals }),
    )
    this.#engine = engine((signals) => this.#outbox.add(signals))
  }

  get position(): MeshPosition | undefined {
    return this.#engine.position
  }

  /** As of the last look at the peers. */
  get reachability(): { readonly peers: number; readonly reachable: number } {
    return this.#reachability
  }

  start(): Promise<void> {
    return this.#engine.start()
  }

  connected(send: Send): void {
    this.#send = send
    this.#engine.onConnected()
  }

  disconnected(): void {
    this.#send = () => false
    this.#outbox.stop()
  }

  receive(frame: Exclude<PushedFrame, { type: 'ack' }>): void {
    this.#queue = this.#queue
      .then(() => this.#apply(frame))
      .catch((error: unknown) => {
        this.#log.error('the mesh could not follow', {
          why: error instanceof Error ? error.message : String(error),
        })
      })
  }

  async peers(): Promise<AgentStatus['peers']> {
    const { peers, reachable } = await this.#engine.status()
    this.#reachability = { peers: peers.length, reachable }
    return peers
  }

  async stop(): Promise<void> {
    this.disconnected()
    await this.#queue
    await this.#engine.stop({ keepInterface: false })
  }

  async #apply(frame: Exclude<PushedFrame, { type: 'ack' }>): Promise<void> {
    if (frame.type === 'signal') return this.#engine.onSignal(frame.from, frame.sealed)
    const { type: _, ...changes } = frame
    if ((await this.#engine.applyChanges(changes)) === 'applied') return
    const at = this.position
    this.#send({ type: 'mesh_resync', ...(at && { at }) })
  }
}
