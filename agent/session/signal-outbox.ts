/**
 * Signals on their way out, paced under the gateway's frame limit. A node that joins a large fleet has one for every peer; only the
 * newest of its kind for each peer is worth sending.
 */

import type { SignalFrame } from '../../protocol/frames.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { MAX_FRAME_BYTES, MAX_SIGNALS_PER_FRAME } from '../../protocol/limits.ts'
import type { Clock, Timer } from '../clock.ts'
import type { FrameShare } from './frame-share.ts'

/** JSON around a sealed signal, and around the frame: more than either takes. */
const ENVELOPE_BYTES = 64

export interface OutgoingSignal {
  readonly to: NodeId
  /** Undefined where there is but one. */
  readonly kind?: string
  readonly sealed: string
}

export class SignalOutbox {
  readonly #clock: Clock
  readonly #share: FrameShare
  readonly #send: (signals: SignalFrame['signals']) => void
  readonly #pending = new Map<string, SignalFrame['signals'][number]>()
  #timer: Timer | undefined

  constructor(clock: Clock, share: FrameShare, send: (signals: SignalFrame['signals']) => void) {
    this.#clock = clock
    this.#share = share
    this.#send = send
  }

  add(signals: readonly OutgoingSignal[]): void {
    for (const { to, kind = '', sealed } of signals) this.#pending.set(`${to} ${kind}`, { to, sealed })
    if (this.#timer === undefined) this.#flush()
  }

  /** Drops what waits: after a reconnect the mesh says anew where it is. */
  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#pending.clear()
  }

  #flush(): void {
    this.#timer = undefined
    while (this.#pending.size > 0) {
      const wait = this.#share.take()
      if (wait > 0) {
        this.#timer = this.#clock.after(wait, () => this.#flush())
        return
      }
      this.#send(this.#takeFrame())
    }
  }

  /** As many as one frame holds, which is bounded in number and in bytes. */
  #takeFrame(): SignalFrame['signals'] {
    const batch: SignalFrame['signals'] = []
    let bytes = ENVELOPE_BYTES
    for (const [key, signal] of this.#pending) {
      bytes += signal.sealed.length + ENVELOPE_BYTES
      if (batch.length === MAX_SIGNALS_PER_FRAME || bytes > MAX_FRAME_BYTES) break
      batch.push(signal)
      this.#pending.delete(key)
    }
    return batch
  }
}
