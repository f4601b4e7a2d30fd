/**
 * One session: one WebSocket, from the dial to its end.
 *
 *     dialling ──open──▶ registering ──registered──▶ verifying ──▶ up
 *         └────────────────────┴─────────────────────────┴─────────┴──▶ ended, with one reason
 *
 * The first reason counts; whatever the socket says afterwards is its echo. Until the gateway has proved that it is the gateway, nothing
 * of what it says is handed on.
 */
import type { X509Certificate } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { TLSSocket } from 'node:tls'
import type { RawData } from 'ws'
import {
  CLOSE,
  type GatewayFrame,
  type NodeFrame,
  PING,
  PONG,
  type RegisterFrame,
} from '../../protocol/frames.ts'
import { MAX_FRAME_BYTES, REGISTER_TIMEOUT_MS } from '../../protocol/limits.ts'
import type { Clock, Timer } from '../clock.ts'
import type { Log } from '../log.ts'
import type { Dialled } from './dial.ts'
import { parseGatewayFrame } from './gateway-frame.ts'
import { Heartbeat } from './heartbeat.ts'
import {
  closed,
  closedUnproved,
  failed,
  notRegistered,
  notTheGateway,
  type Objection,
  refused,
  type SessionEnd,
  silent,
} from './session-end.ts'

/** A close frame that nobody answers must not hold up a shutdown. */
const CLOSE_TIMEOUT_MS = 2_000
/** An objection ends in a log. */
const MAX_MESSAGE_LENGTH = 256

export type Registered = Extract<GatewayFrame, { type: 'registered' }>
/** Frames that concern others than the session itself. */
export type PushedFrame = Extract<
  GatewayFrame,
  {
    type:
      | 'mesh'
      | 'mesh_report'
      | 'mesh_ping'
      | 'signal'
      | 'routes'
      | 'ack'
      | 'answer'
      | 'rotate_identity'
      | 'rotate_wireguard'
      | 'secret_changed'
  }
>

interface Options {
  readonly dialled: Dialled
  readonly clock: Clock
  readonly log: Log
  readonly onRegistered: (frame: Registered) => void
  /** A heartbeat was answered. */
  readonly onPong?: () => void
  readonly onFrame: (frame: PushedFrame) => void
}

export class Session {
  /** Resolves once, when the socket is gone. */
  readonly ended: Promise<SessionEnd>
  readonly #options: Options
  #reason: SessionEnd | undefined
  #certificate: X509Certificate | undefined
  /** What was sent to register with. */
  #register: RegisterFrame | undefined
  /** Frames that came while the gateway's signature is being checked. */
  #held: GatewayFrame[] | undefined
  #objection: Objection | undefined
  #heartbeat: Heartbeat | undefined
  #registeredAt: number | undefined
  /** Runs while an answer is owed: `registered` first, the close frame last. */
  #deadline: Timer | undefined

  constructor(options: Options) {
    this.#options = options
    const { socket } = options.dialled
    this.ended = new Promise((resolve) => {
      socket.once('close', (code) => {
        const end = this.#reason ?? this.#closedWith(code)
        this.#finish(end)
        this.#deadline?.cancel()
        resolve(end)
      })
    })
    socket.on('error', (error) => this.#finish(failed(error)))
    socket.on('unexpected-response', (_request, response) => void this.#refused(response))
    socket.on('upgrade', (response) => {
      this.#certificate = certificateOf(response.socket)
    })
    socket.on('open', () => void this.#begin())
    socket.on('message', (data, binary) => this.#receive(data, binary))
  }

  /** How long the session has been up; undefined if it never was. */
  get livedMs(): number | undefined {
    return this.#registeredAt === undefined ? undefined : this.#options.clock.elapsed() - this.#registeredAt
  }

  /** False if the session is not up: what a frame says is said anew at the next register. */
  send(frame: NodeFrame): boolean {
    if (this.#registeredAt === undefined || this.#reason !== undefined) return false
    this.#transmit(JSON.stringify(frame))
    return true
  }

  /** Says goodbye, so that the gateway does not have to wait for silence. */
  stop(): void {
    const { clock } = this.#options
    const { socket } = this.#options.dialled
    this.#finish({ kind: 'stopped' })
    if (socket.readyState === socket.OPEN) {
      socket.close(CLOSE.normal)
      this.#deadline = clock.after(CLOSE_TIMEOUT_MS, () => socket.terminate())
    } else socket.terminate()
  }

  async #refused(response: IncomingMessage): Promise<void> {
    const { clock, dialled } = this.#options
    // A body that trickles in must not hold the agent for as long as somebody likes.
    this.#deadline = clock.after(REGISTER_TIMEOUT_MS, () => this.#abort(notRegistered()))
    try {
      this.#abort(await refused(response, dialled.authenticate, clock.now()))
    } catch (error) {
      this.#abort(failed(asError(error)))
    }
  }

  async #begin(): Promise<void> {
    const { clock, dialled } = this.#options
    this.#deadline = clock.after(REGISTER_TIMEOUT_MS, () => this.#abort(notRegistered()))
    try {
      this.#register = await dialled.register(this.#certificate)
    } catch (error) {
      return this.#abort(failed(asError(error)))
    }
    if (this.#reason === undefined) this.#transmit(JSON.stringify(this.#register))
  }

  #receive(data: RawData, binary: boolean): void {
    if (binary || this.#reason !== undefined) return
    const text = data.toString()
    if (text === PONG) {
      if (this.#heartbeat === undefined) return
      this.#heartbeat.pong()
      this.#options.onPong?.()
      return
    }
    const frame = parseGatewayFrame(text, this.#options.log)
    if (frame === undefined) return
    if (this.#held === undefined) this.#handle(frame)
    else this.#held.push(frame)
  }

  #handle(frame: GatewayFrame): void {
    const { log, onFrame } = this.#options
    switch (frame.type) {
      case 'registered':
        if (this.#registeredAt === undefined && this.#register !== undefined)
          void this.#confirm(frame, this.#register)
        break
      case 'revoked':
        if (this.#registeredAt !== undefined) this.#abort({ kind: 'removed' })
        break
      case 'error':
        this.#objection = { ...frame, message: frame.message.slice(0, MAX_MESSAGE_LENGTH) }
        // Of one who has not proved to be the gateway the code is enough, and comes with the end.
        if (this.#registeredAt !== undefined)
          log.warn('the gateway objects', { code: frame.code, detail: this.#objection.message })
        break
      default:
        if (this.#registeredAt !== undefined && this.#reason === undefined) onFrame(frame)
    }
  }

  async #confirm(frame: Registered, register: RegisterFrame): Promise<void> {
    const held: GatewayFrame[] = []
    this.#held = held
    let genuine: boolean
    try {
      genuine = await this.#options.dialled.isGateway(frame, register)
    } catch (error) {
      return this.#abort(failed(asError(error)))
    }
    if (this.#reason !== undefined) return
    if (!genuine) return this.#abort(notTheGateway())
    this.#held = undefined
    this.#registered(frame)
    for (const waiting of held) this.#handle(waiting)
  }

  #registered(frame: Registered): void {
    const { clock, onRegistered } = this.#options
    this.#deadline?.cancel()
    this.#registeredAt = clock.elapsed()
    this.#heartbeat = new Heartbeat(
      clock,
      frame.settings.heartbeatMs,
      () => this.#transmit(PING),
      () => this.#abort(silent()),
    )
    onRegistered(frame)
  }

  #closedWith(code: number): SessionEnd {
    const proved = this.#registeredAt !== undefined
    return (proved ? closed : closedUnproved)(code, this.#objection)
  }

  #transmit(text: string): void {
    const { log } = this.#options
    const { socket } = this.#options.dialled
    if (text.length > MAX_FRAME_BYTES) log.error('a frame is too large to be sent', { bytes: text.length })
    else if (socket.readyState === socket.OPEN) socket.send(text, () => {})
  }

  /** Ends without a goodbye: nobody is there, or nobody who would answer it. */
  #abort(reason: SessionEnd): void {
    this.#finish(reason)
    this.#options.dialled.socket.terminate()
  }

  #finish(reason: SessionEnd): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    this.#heartbeat?.stop()
    this.#deadline?.cancel()
  }
}

const certificateOf = (socket: unknown): X509Certificate | undefined =>
  socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)))
