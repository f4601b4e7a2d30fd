/**
 * Between the session and the mesh: what the gateway pushes goes to the engine, the engine's signals go out paced. The mesh runs from its
 * cached map before there is a session, and goes on when there is none; but a node in quarantine has no business in it, so there its
 * interface is taken away until the gateway lets the node in again.
 *
 *     up ──hold──▶ held ──connected──▶ rising ──▶ up
 */
import type { MeshQuestion, NodeFrame } from '../protocol/frames.ts'
import type { Cidr } from '../protocol/ids.ts'
import type { MeshChanges, MeshPosition } from '../protocol/mesh.ts'
import type { Clock, Timer } from './clock.ts'
import type { Log } from './log.ts'
import type { MeshEngine } from './mesh/engine.ts'
import type { MeshSettings } from './mesh/engine-options.ts'
import type { HandoverEnd } from './mesh/key-handover.ts'
import type { MapAck } from './mesh/map-acks.ts'
import type { MapLease } from './mesh/map-lease.ts'
import type { RelayClient } from './mesh/relay/relay-client.ts'
import { FrameShare } from './session/frame-share.ts'
import type { PushedFrame } from './session/session.ts'
import { type OutgoingSignal, SignalOutbox } from './session/signal-outbox.ts'

/** What of the engine the session needs. */
type Engine = Pick<
  MeshEngine,
  | 'start'
  | 'position'
  | 'reachability'
  | 'applyChanges'
  | 'approve'
  | 'onSignal'
  | 'onConnected'
  | 'onDisconnected'
  | 'answer'
  | 'handOver'
  | 'leaseChanged'
  | 'status'
  | 'stop'
>

type Send = (frame: NodeFrame) => boolean
type MeshFrame = Extract<PushedFrame, { type: 'mesh' | 'mesh_report' | 'mesh_ping' | 'signal' | 'routes' }>

const RETRY_MS = 10_000
/** Of the frames that a session may send: a node that joins has a signal for every peer. */
const SIGNAL_SHARE = 0.6
const DONE = { held: 'taken away', rising: 'brought back' } as const

interface Options {
  readonly clock: Clock
  readonly log: Log
  /** Undefined if this node uses none. */
  readonly relay?: Pick<RelayClient, 'use' | 'stop'> | undefined
  readonly lease: Pick<MapLease, 'start' | 'stop' | 'grant' | 'heard'>
  /** Is given where what the engine says goes. An engine that was stopped is followed by another. */
  readonly createEngine: (
    sendSignals: (signals: OutgoingSignal[]) => void,
    sendAck: (ack: MapAck) => void,
  ) => Engine
}

export class MeshRuntime {
  readonly #options: Options
  readonly #share: FrameShare
  readonly #outbox: SignalOutbox
  #engine: Engine
  #state: 'up' | 'held' | 'rising' = 'up'
  /** Engines are started and stopped one after another. */
  #turn: Promise<void> = Promise.resolve()
  #retry: Timer | undefined
  /** Undefined while there is no session. */
  #send: Send | undefined
  /** Of the last session. */
  #settings: MeshSettings | undefined
  /** Networks behind this node, as the gateway last said. */
  #approved: readonly Cidr[] | undefined
  /** Changes that do not fit may come in a row, and one resync mends them all. */
  #resyncing = false

  constructor(options: Options) {
    this.#options = options
    this.#share = new FrameShare(options.clock, SIGNAL_SHARE)
    this.#outbox = new SignalOutbox(options.clock, this.#share, (signals) => {
      this.#send?.({ type: 'signal', signals })
    })
    this.#engine = this.#createEngine()
  }

  get position(): MeshPosition | undefined {
    return this.#engine.position
  }

  get reachability(): Engine['reachability'] {
    return this.#engine.reachability
  }

  /** Before there is a session: peers are called by what the cache says. @throws UserError if there can be no interface here. */
  async start(): Promise<void> {
    this.#options.lease.start(() => {
      if (this.#state === 'up') this.#engine.leaseChanged()
    })
    await this.#engine.start()
  }

  /** Undefined while the interface is taken away. */
  async status(): Promise<Awaited<ReturnType<Engine['status']>> | undefined> {
    return this.#state === 'up' ? this.#engine.status() : undefined
  }

  connected(send: Send, settings: MeshSettings): void {
    this.#options.lease.grant(settings.leaseMs)
    this.#send = send
    this.#settings = settings
    this.#options.relay?.use(settings.relays)
    this.#resyncing = false
    if (this.#state === 'up') this.#engine.onConnected(settings)
    else if (this.#state === 'held') this.#become('rising', () => this.#raise())
  }

  /** The gateway was heard, in a session that is up. */
  heard(): void {
    this.#options.lease.heard()
  }

  disconnected(): void {
    this.#send = undefined
    this.#outbox.stop()
    this.#engine.onDisconnected()
  }

  /** See MeshEngine.handOver. */
  async handOver(...handover: Parameters<Engine['handOver']>): Promise<HandoverEnd> {
    return this.#state === 'up' ? this.#engine.handOver(...handover) : 'no gateway'
  }

  receive(frame: MeshFrame): void {
    if (frame.type === 'routes') {
      this.#approved = frame.approved
      if (this.#state === 'up') this.#engine.approve(frame.approved)
      return
    }
    // A resync follows when the engine is there.
    if (this.#state !== 'up') return
    if (frame.type === 'signal') {
      void this.#engine.onSignal(frame.from, frame.sealed)
      return
    }
    if (frame.type !== 'mesh') return void this.#answer(frame)
    const { type: _, ...changes } = frame
    this.#apply(changes)
  }

  /** Takes the interface away until the next session. */
  hold(): void {
    if (this.#state === 'held') return
    this.disconnected()
    this.#options.relay?.use([])
    this.#become('held', () => this.#engine.stop({ keepInterface: false }))
  }

  /** Takes the interface away: a node that left on purpose has no business in the mesh. */
  async stop(): Promise<void> {
    this.#state = 'held'
    this.disconnected()
    this.#retry?.cancel()
    this.#options.lease.stop()
    await this.#turn
    await this.#options.relay?.stop()
    await this.#engine.stop({ keepInterface: false })
  }

  #createEngine(): Engine {
    return this.#options.createEngine(
      (signals) => this.#outbox.add(signals),
      (ack) => this.#transmit({ type: 'mesh_ack', ...ack }),
    )
  }

  /** Takes the step when those before it are done, and again while it fails, unless something else is wanted by then. */
  #become(state: 'held' | 'rising', step: () => Promise<void>): void {
    const { clock, log } = this.#options
    this.#state = state
    this.#retry?.cancel()
    this.#turn = this.#turn
      .then(() => (this.#state === state ? step() : undefined))
      .catch((error: unknown) => {
        const problem = error instanceof Error ? error.message : String(error)
        log.error(`the mesh interface could not be ${DONE[state]}`, { problem })
        this.#retry = clock.after(RETRY_MS, () => this.#become(state, step))
      })
  }

  async #raise(): Promise<void> {
    await this.#engine.stop({ keepInterface: false })
    const engine = this.#createEngine()
    await engine.start()
    this.#engine = engine
    // Held again while it was starting: the next step stops it.
    if (this.#state !== 'rising') return
    this.#state = 'up'
    if (this.#approved !== undefined) engine.approve(this.#approved)
    if (this.#send === undefined || this.#settings === undefined) return
    engine.onConnected(this.#settings)
    this.#resync()
  }

  #apply(changes: MeshChanges): void {
    const result = this.#engine.applyChanges(changes)
    if (result === 'applied') this.#resyncing = false
    if (result === 'gap' && !this.#resyncing) this.#resync()
  }

  async #answer(question: MeshQuestion): Promise<void> {
    try {
      const sealed = await this.#engine.answer(question)
      if (sealed !== undefined) this.#transmit({ type: 'mesh_answer', request: question.request, sealed })
    } catch (error) {
      this.#options.log.warn('a question about the mesh was not answered', { problem: String(error) })
    }
  }

  #resync(): void {
    this.#resyncing = true
    this.#transmit({ type: 'mesh_resync', ...(this.position && { at: this.position }) })
  }

  /** Counted with the signals, but never held back: each of these is seldom, and somebody waits for it. */
  #transmit(frame: NodeFrame): void {
    this.#share.take()
    this.#send?.(frame)
  }
}
