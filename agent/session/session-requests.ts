/**
 * Signed requests over the running agent's session, for the commands on this node: when a secret changes, they need not each make a connection first.
 * What they sign and whom they believe is their own; this only carries it.
 */
import type { AnswerFrame, NodeFrame, RequestFrame } from '../../protocol/frames.ts'
import { MAX_FRAME_BYTES } from '../../protocol/limits.ts'
import type { Clock, Timer } from '../clock.ts'
import { FrameShare } from './frame-share.ts'

/** The first version in which a gateway takes them. */
const SINCE_PROTOCOL = 3
/** Whoever waits can still ask the gateway itself. */
const TIMEOUT_MS = 5_000
/** Of the frames that a session may send. */
const SHARE = 0.2

export type CarriedRequest = Omit<RequestFrame, 'type' | 'n'>
export type CarriedAnswer = Omit<AnswerFrame, 'type' | 'n'>

interface Pending {
  readonly resolve: (answer: CarriedAnswer | undefined) => void
  readonly timer: Timer
}

interface Options {
  readonly clock: Clock
  /** False if no session is up. */
  readonly send: (frame: NodeFrame) => boolean
}

export class SessionRequests {
  readonly #options: Options
  readonly #share: FrameShare
  readonly #pending = new Map<number, Pending>()
  #isUnderstood = false
  #n = 0

  constructor(options: Options) {
    this.#options = options
    this.#share = new FrameShare(options.clock, SHARE)
  }

  /** A session has begun. @param protocol the version it speaks. */
  connected(protocol: number): void {
    this.#isUnderstood = protocol >= SINCE_PROTOCOL
  }

  /** What has no answer will have none. */
  disconnected(): void {
    this.#isUnderstood = false
    for (const n of this.#pending.keys()) this.#settle(n, undefined)
  }

  /** Undefined if the session cannot carry it, or brings no answer in time: the gateway has to be asked in another way. */
  async ask(request: CarriedRequest): Promise<CarriedAnswer | undefined> {
    const n = this.#n++
    const frame: RequestFrame = { type: 'request', n, ...request }
    if (!this.#isUnderstood || Buffer.byteLength(JSON.stringify(frame)) > MAX_FRAME_BYTES) return undefined
    if (this.#share.take() > 0 || !this.#options.send(frame)) return undefined
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(TIMEOUT_MS, () => this.#settle(n, undefined))
      this.#pending.set(n, { resolve, timer })
    })
  }

  answered({ n, status, body, signature }: AnswerFrame): void {
    this.#settle(n, { status, body, signature })
  }

  #settle(n: number, answer: CarriedAnswer | undefined): void {
    const pending = this.#pending.get(n)
    if (pending === undefined) return
    this.#pending.delete(n)
    pending.timer.cancel()
    pending.resolve(answer)
  }
}
