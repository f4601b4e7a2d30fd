/**
 * Says when secrets may have changed: as soon as the running agent hears of it, and each time it may have missed something. Where no agent
 * runs, every minute, and by then one may have been started.
 */
import type { SecretName } from '../../protocol/ids.ts'
import { type Clock, sleep } from '../clock.ts'
import { listenToAgent } from './secret-notices.ts'

/** Each look is a request, and an entry in the audit trail. */
const POLL_MS = 60_000
/** An agent that is being updated is back within seconds, and to look for its socket costs nothing. */
const LOOK_MS = 1_000

interface Options {
  /** The node's state directory. */
  readonly directory: string
  readonly names: readonly SecretName[]
  readonly clock: Clock
  readonly onChange: () => void
}

export class ChangeWatch {
  readonly #options: Options
  readonly #stopped = new AbortController()
  readonly #begun = Promise.withResolvers<boolean>()

  constructor(options: Options) {
    this.#options = options
  }

  /** @returns whether an agent runs here; it listens from then on. */
  start(): Promise<boolean> {
    void this.#run()
    return this.#begun.promise
  }

  stop(): void {
    this.#stopped.abort()
    this.#begun.resolve(false)
  }

  async #run(): Promise<void> {
    const { directory, names, clock, onChange } = this.#options
    const { signal } = this.#stopped
    let due = this.#nextPoll()
    for (let isFirst = true; !signal.aborted; isFirst = false) {
      const onOpen = () => {
        this.#begun.resolve(true)
        if (!isFirst) onChange()
      }
      const wasThere = await listenToAgent(directory, names, { onOpen, onNotice: onChange }, signal)
      this.#begun.resolve(wasThere)
      if (wasThere) due = this.#nextPoll()
      // Spread, because what has ended one agent may have ended many.
      await sleep(clock, LOOK_MS * (0.5 + clock.random()), signal)
      if (signal.aborted || clock.elapsed() < due) continue
      onChange()
      due = this.#nextPoll()
    }
  }

  #nextPoll(): number {
    const { clock } = this.#options
    return clock.elapsed() + POLL_MS * (0.9 + 0.2 * clock.random())
  }
}
