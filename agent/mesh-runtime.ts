/**
 * Between the session and the mesh: what the gateway pushes goes to the engine, the engine's signals go out paced. The mesh runs from its
 * cached map before there is a session, and goes on when there is none.
 */
import type { NodeFrame } from '../protocol/frames.ts'
import type { MeshChanges, MeshPosition } from '../protocol/mesh.ts'
import type { Clock } from './clock.ts'
import type { MeshEngine } from './mesh/engine.ts'
import type { PushedFrame } from './session/session.ts'
import { type OutgoingSignal, SignalOutbox } from './session/signal-outbox.ts'
import { TokenBucket } from './session/token-bucket.ts'

/** What of the engine the session needs. */
type Engine = Pick<
  MeshEngine,
  | 'start'
  | 'position'
  | 'reachability'
  | 'applyChanges'
  | 'onSignal'
  | 'onConnected'
  | 'onDisconnected'
  | 'status'
  | 'stop'
>

type Send = (frame: NodeFrame) => boolean

export class MeshRuntime {
  readonly #engine: Engine
  readonly #bucket: TokenBucket
  readonly #outbox: SignalOutbox
  /** Undefined while there is no session. */
  #send: Send | undefined
  /** Changes that do not fit may come in a row, and one resync mends them all. */
  #resyncing = false

  /** @param createEngine is given where the engine's signals go. */
  constructor(clock: Clock, createEngine: (sendSignals: (signals: OutgoingSignal[]) => void) => Engine) {
    this.#bucket = new TokenBucket(clock)
    this.#outbox = new SignalOutbox(clock, this.#bucket, (signals) => {
      this.#send?.({ type: 'signal', signals })
    })
    this.#engine = createEngine((signals) => this.#outbox.add(signals))
  }

  get position(): MeshPosition | undefined {
    return this.#engine.position
  }

  get reachability(): { readonly peers: number; readonly reachable: number } {
    return this.#engine.reachability
  }

  /** Before there is a session: peers are called by what the cache says. @throws UserError if there can be no interface here. */
  async start(): Promise<void> {
    await this.#engine.start()
  }

  status(): ReturnType<Engine['status']> {
    return this.#engine.status()
  }

  connected(send: Send): void {
    this.#send = send
    this.#resyncing = false
    this.#engine.onConnected()
  }

  disconnected(): void {
    this.#send = undefined
    this.#outbox.stop()
    this.#engine.onDisconnected()
  }

  receive(frame: Exclude<PushedFrame, { type: 'ack' }>): void {
    if (frame.type === 'signal') {
      void this.#engine.onSignal(frame.from, frame.sealed)
      return
    }
    const { type: _, ...changes } = frame
    this.#apply(changes)
  }

  /** Takes the interface away: a node that left on purpose has no business in the mesh. */
  async stop(): Promise<void> {
    this.disconnected()
    await this.#engine.stop({ keepInterface: false })
  }

  #apply(changes: MeshChanges): void {
    const result = this.#engine.applyChanges(changes)
    if (result === 'applied') this.#resyncing = false
    if (result !== 'gap' || this.#resyncing) return
    this.#resyncing = true
    // Counted, but never held back: without it the map stands still.
    this.#bucket.take()
    this.#send?.({ type: 'mesh_resync', ...(this.position && { at: this.position }) })
  }
}
