/**
 * One session: one WebSocket, from the dial to its end.
 *
 *     dialling ──open──▶ registering ──registered──▶ up
 *         └────────────────────┴──────────────────────┴──▶ ended, with one reason
 *
 * The first reason counts; whatever the socket says afterwards is its echo.
 */
import type { RawData, WebSocket } from 'ws'
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
import { parseGatewayFrame } from './gateway-frame.ts'
import { Heartbeat } from './heartbeat.ts'
import {
  closed,
  failed,
  notRegistered,
  type Objection,
  refused,
  type SessionEnd,
  silent,
} from './session-end.ts'

/** A close frame that nobody answers must not hold up a shutdown. */
const CLOSE_TIMEOUT_MS = 2_000

export type Registered = Extract<GatewayFrame, { type: 'registered' }>
/** Frames that concern others than the session itself. */
export type PushedFrame = Extract<GatewayFrame, { type: 'mesh' | 'signal' | 'ack' }>

interface Options {
  readonly socket: WebSocket
  readonly register: RegisterFrame
  readonly clock: Clock
  readonly log: Log
  readonly onRegistered: (frame: Registered) => void
  readonly onFrame: (frame: PushedFrame) => void
}

export class Session {
  /** Resolves once, when the socket is gone. */
  readonly ended: Promise<SessionEnd>
  readonly #options: Options
  #reason: SessionEnd | undefined
  #objection: Objection | undefined
  #heartbeat: Heartbeat | undefined
  #registeredAt: number | undefined
  /** Runs while an answer is owed: `registered` first, the close frame last. */
  #deadline: Timer | undefined

  constructor(options: Options) {
    this.#options = options
    const { socket, clock } = options
    this.ended = new Promise((resolve) => {
      socket.once('close', (code) => {
        const end = this.#reason ?? closed(code, this.#objection)
        this.#finish(end)
        this.#deadline?.cancel()
        resolve(end)
      })
    })
    socket.on('error', (error) => this.#finish(failed(error)))
    socket.on('unexpected-response', (_request, response) => {
      void refused(response, clock.now()).then((end) => {
        this.#finish(end)
        socket.terminate()
      })
    })
    socket.on('open', () => this.#register())
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
    const { socket, clock } = this.#options
    this.#finish({ kind: 'stopped' })
    if (socket.readyState === socket.OPEN) {
      socket.close(CLOSE.normal)
      this.#deadline = clock.after(CLOSE_TIMEOUT_MS, () => socket.terminate())
    } else socket.terminate()
  }

  #register(): void {
    const { clock, register } = this.#options
    this.#transmit(JSON.stringify(register))
    this.#deadline = clock.after(REGISTER_TIMEOUT_MS, () => this.#abort(notRegistered()))
  }

  #receive(data: RawData, binary: boolean): void {
    if (binary || this.#reason !== undefined) return
    const text = data.toString()
    if (text === PONG) {
      this.#heartbeat?.pong()
      return
    }
    const frame = parseGatewayFrame(text, this.#options.log)
    if (frame !== undefined) this.#handle(frame)
  }

  #handle(frame: GatewayFrame): void {
    const { log, onFrame } = this.#options
    switch (frame.type) {
      case 'registered':
        this.#registered(frame)
        break
      case 'revoked':
        this.#abort({ kind: 'removed' })
        break
      case 'error':
        this.#objection = frame
        log.warn('the gateway objects', { code: frame.code, detail: frame.message })
        break
      default:
        if (this.#registeredAt !== undefined) onFrame(frame)
    }
  }

  #registered(frame: Registered): void {
    if (this.#registeredAt !== undefined) return
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

  #transmit(text: string): void {
    const { socket, log } = this.#options
    if (text.length > MAX_FRAME_BYTES) log.error('a frame is too large to be sent', { bytes: text.length })
    else if (socket.readyState === socket.OPEN) socket.send(text, () => {})
  }

  /** Ends without a goodbye: nobody is there, or nobody who would answer it. */
  #abort(reason: SessionEnd): void {
    this.#finish(reason)
    this.#options.socket.terminate()
  }

  #finish(reason: SessionEnd): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    this.#heartbeat?.stop()
    this.#deadline?.cancel()
  }
}
