/** Notices that this machine's addresses have changed, or that it has slept: looked for often, because all its paths may be dead. */
import { networkInterfaces } from 'node:os'
import type { Clock, Timer } from '../../clock.ts'

/** Between two looks; a machine with hundreds of interfaces is looked at less often, so that it never costs more than this share of a core. */
const SHORTEST_MS = 250
const LONGEST_MS = 2_000
const SHARE = 1 / 1000
/** By this much more than the monotonic clock, which stands still in sleep, the other one has moved. */
const SLEPT_MS = 5_000

interface Options {
  readonly clock: Clock
  /** What is the same as long as the addresses are. */
  readonly look: () => string
  readonly onChange: (what: 'addresses' | 'slept') => void
}

export class NetworkWatch {
  readonly #options: Options
  #seen: string
  #wait = SHORTEST_MS
  #timer: Timer | undefined

  constructor(options: Options) {
    this.#options = options
    this.#seen = options.look()
    this.#schedule()
  }

  stop(): void {
    this.#timer?.cancel()
  }

  #schedule(): void {
    const { clock, look, onChange } = this.#options
    const [wall, monotonic] = [clock.now(), clock.elapsed()]
    this.#timer = clock.after(this.#wait, () => {
      const begun = clock.elapsed()
      const slept = clock.now() - wall - (begun - monotonic) > SLEPT_MS
      const seen = look()
      this.#wait = Math.min(Math.max((clock.elapsed() - begun) / SHARE, SHORTEST_MS), LONGEST_MS)
      const moved = seen !== this.#seen
      this.#seen = seen
      this.#schedule()
      if (moved) onChange('addresses')
      else if (slept) onChange('slept')
    })
  }
}

export const systemAddresses = (): string =>
  Object.entries(networkInterfaces())
    .flatMap(([name, addresses = []]) => addresses.map(({ cidr }) => `${name} ${cidr}`))
    .sort()
    .join()
