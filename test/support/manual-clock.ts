/** A clock that moves when a test says so. */
import type { Clock, Timer } from '../../agent/clock.ts'

interface Waiting {
  readonly at: number
  readonly callback: () => void
}

export class ManualClock implements Clock {
  /** What `random()` gives. */
  chance = 0.5
  /** Added to `now()` alone: how wrong this machine's clock is. */
  skewMs = 0
  #elapsed = 0
  readonly #start: number
  readonly #timers = new Set<Waiting>()
  readonly #watchers = new Set<{
    readonly wanted: (ms: number) => boolean
    readonly found: (ms: number) => void
  }>()

  constructor(start = Date.now()) {
    this.#start = start
  }

  now(): number {
    return this.#start + this.#elapsed + this.skewMs
  }

  elapsed(): number {
    return this.#elapsed
  }

  random(): number {
    return this.chance
  }

  after(ms: number, callback: () => void): Timer {
    const timer = { at: this.#elapsed + ms, callback }
    this.#timers.add(timer)
    for (const watcher of this.#watchers) {
      if (!watcher.wanted(ms)) continue
      this.#watchers.delete(watcher)
      watcher.found(ms)
    }
    return { cancel: () => this.#timers.delete(timer) }
  }

  /** Resolves with the delay of the next timer of the wanted length that is set from now on. */
  scheduled(wanted: (ms: number) => boolean = () => true): Promise<number> {
    return new Promise((found) => this.#watchers.add({ wanted, found }))
  }

  get pending(): number {
    return this.#timers.size
  }

  /** Runs what falls due, in order, also what the timers themselves set. */
  advance(ms: number): void {
    const end = this.#elapsed + ms
    for (let next = this.#next(end); next !== undefined; next = this.#next(end)) {
      this.#timers.delete(next)
      this.#elapsed = Math.max(this.#elapsed, next.at)
      next.callback()
    }
    this.#elapsed = end
  }

  #next(end: number): Waiting | undefined {
    const due = [...this.#timers].filter(({ at }) => at <= end)
    return due.sort((a, b) => a.at - b.at)[0]
  }
}
