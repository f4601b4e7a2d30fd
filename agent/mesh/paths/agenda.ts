/** When each pair has something to do, with one timer for all of them. */
import type { NodeId } from '../../../protocol/ids.ts'
import type { Clock, Timer } from '../../clock.ts'

/** Between two rounds: what falls due in between goes together. */
const LEAST_MS = 10

export class Agenda {
  readonly #clock: Clock
  readonly #run: (due: readonly NodeId[], now: number) => void
  readonly #dueAt = new Map<NodeId, number>()
  #timer: Timer | undefined
  #isWaking = false
  #isRunning = false

  constructor(clock: Clock, run: (due: readonly NodeId[], now: number) => void) {
    this.#clock = clock
    this.#run = run
  }

  start(): void {
    this.#isRunning = true
    this.#wake()
  }

  stop(): void {
    this.#isRunning = false
    this.#timer?.cancel()
  }

  set(id: NodeId, at: number): void {
    this.#dueAt.set(id, at)
    this.#wake()
  }

  delete(id: NodeId): void {
    this.#dueAt.delete(id)
  }

  /** Once for everything that happens in one turn. */
  #wake(): void {
    if (this.#isWaking || !this.#isRunning) return
    this.#isWaking = true
    queueMicrotask(() => {
      this.#isWaking = false
      if (!this.#isRunning) return
      this.#timer?.cancel()
      let at = Number.POSITIVE_INFINITY
      for (const due of this.#dueAt.values()) at = Math.min(at, due)
      if (at === Number.POSITIVE_INFINITY) return
      this.#timer = this.#clock.after(Math.max(at - this.#clock.elapsed(), LEAST_MS), () => this.#tick())
    })
  }

  #tick(): void {
    const now = this.#clock.elapsed()
    this.#run(
      [...this.#dueAt].filter(([, at]) => at <= now).map(([id]) => id),
      now,
    )
    this.#wake()
  }
}
