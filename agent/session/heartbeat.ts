/**
 * The text frame `ping`, answered `pong` by the gateway's runtime without waking anything. Three pings without an answer mean that the
 * link is dead, whatever TCP believes (a NAT that forgot us, a gateway that vanished).
 */
import { MAX_MISSED_PONGS } from '../../protocol/limits.ts'
import type { Clock, Timer } from '../clock.ts'

/** Share of the interval by which each beat moves, so that nodes which registered together drift apart. */
const JITTER = 0.1

export class Heartbeat {
  readonly #clock: Clock
  readonly #intervalMs: number
  readonly #ping: () => void
  readonly #dead: () => void
  #unanswered = 0
  #timer: Timer

  constructor(clock: Clock, intervalMs: number, ping: () => void, dead: () => void) {
    this.#clock = clock
    this.#intervalMs = intervalMs
    this.#ping = ping
    this.#dead = dead
    this.#timer = this.#clock.after(this.#intervalMs * this.#clock.random(), () => this.#beat())
  }

  pong(): void {
    this.#unanswered = 0
  }

  stop(): void {
    this.#timer.cancel()
  }

  #beat(): void {
    if (this.#unanswered >= MAX_MISSED_PONGS) {
      this.#dead()
      return
    }
    this.#unanswered++
    this.#ping()
    const jitter = 1 + JITTER * (2 * this.#clock.random() - 1)
    this.#timer = this.#clock.after(this.#intervalMs * jitter, () => this.#beat())
  }
}
