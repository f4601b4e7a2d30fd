/** Saves some time after the first reason to: a fleet that comes up gives a reason for each peer, and they are written together. */
import type { Clock, Timer } from '../clock.ts'

const DELAY_MS = 1_000

export class DelayedSave {
  readonly #clock: Clock
  readonly #save: () => void
  #timer: Timer | undefined
  #closed = false

  constructor(clock: Clock, save: () => void) {
    this.#clock = clock
    this.#save = save
  }

  soon(): void {
    if (!this.#closed) this.#timer ??= this.#clock.after(DELAY_MS, () => this.#flush())
  }

  /** Saves what still waits to be, and nothing afterwards. */
  close(): void {
    this.#closed = true
    this.#flush()
  }

  #flush(): void {
    if (this.#timer === undefined) return
    this.#timer.cancel()
    this.#timer = undefined
    this.#save()
  }
}
