/** Runs one task, never twice at once: requests that come meanwhile share the next run. A failure is tried again, ever more slowly. */
import type { Clock, Timer } from '../clock.ts'

const FIRST_RETRY_MS = 500
const LAST_RETRY_MS = 30_000

export class SerialTask {
  readonly #clock: Clock
  readonly #task: () => Promise<void>
  readonly #onFailure: (message: string) => void
  #running: Promise<void> | undefined
  #next: Promise<void> | undefined
  #retry: Timer | undefined
  #failures = 0
  #stopped = false
  #lastError: string | undefined

  /** @param onFailure is told when a run fails in another way than the one before it. */
  constructor(clock: Clock, task: () => Promise<void>, onFailure: (message: string) => void) {
    this.#clock = clock
    this.#task = task
    this.#onFailure = onFailure
  }

  /** Of the last run; undefined if it succeeded. */
  get lastError(): string | undefined {
    return this.#lastError
  }

  /** Resolves when a run that began after this call has ended, well or not. */
  request(): Promise<void> {
    if (this.#stopped) return Promise.resolve()
    if (this.#running === undefined) return this.#start()
    this.#next ??= this.#running.then(() => {
      this.#next = undefined
      return this.request()
    })
    return this.#next
  }

  /** Resolves when nothing runs any more. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#retry?.cancel()
    await this.#running
  }

  #start(): Promise<void> {
    this.#running = this.#run().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #run(): Promise<void> {
    this.#retry?.cancel()
    try {
      await this.#task()
      this.#failures = 0
      this.#lastError = undefined
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      if (message !== this.#lastError) this.#onFailure(message)
      this.#lastError = message
      const wait = Math.min(FIRST_RETRY_MS * 2 ** this.#failures++, LAST_RETRY_MS)
      if (!this.#stopped) this.#retry = this.#clock.after(wait, () => void this.request())
    }
  }
}
