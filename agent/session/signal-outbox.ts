/**
 * Signals on their way out, paced under the gateway's frame limit. A node that joins a large fleet has one for every peer; only the
 * newest of its kind for each peer is worth sending.
 */

import type { SignalKind } from '../../crypto/signal.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { MAX_SIGNALS_PER_FRAME } from '../../protocol/limits.ts'
import type { Clock, Timer } from '../clock.ts'
import type { TokenBucket } from './token-bucket.ts'

interface Addressed {
  readonly to: NodeId
  readonly sealed: string
}

export interface OutgoingSignal extends Addressed {
  readonly kind: SignalKind
}

export class SignalOutbox {
  readonly #clock: Clock
  readonly #bucket: TokenBucket
  readonly #send: (signals: Addressed[]) => void
  readonly #pending = new Map<string, OutgoingSignal>()
  #timer: Timer | undefined

  constructor(clock: Clock, bucket: TokenBucket, send: (signals: Addressed[]) => void) {
    this.#clock = clock
    this.#bucket = bucket
    this.#send = send
  }

  add(signals: readonly OutgoingSignal[]): void {
    for (const signal of signals) this.#pending.set(`${signal.kind} ${signal.to}`, signal)
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
      const wait = this.#bucket.take()
      if (wait > 0) {
        this.#timer = this.#clock.after(wait, () => this.#flush())
        return
      }
      const batch = [...this.#pending].slice(0, MAX_SIGNALS_PER_FRAME)
      for (const [slot] of batch) this.#pending.delete(slot)
      this.#send(batch.map(([, { to, sealed }]) => ({ to, sealed })))
    }
  }
}
