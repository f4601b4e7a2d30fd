/** Notices that this machine's addresses have changed, or that it has slept: looked for often, because all its paths may be dead. */
import { networkInterfaces } from 'node:os'
import type { Clock, Timer } from '../../clock.ts'

const EVERY_MS = 1_000
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
    this.#timer = clock.after(EVERY_MS, () => {
      const slept = clock.now() - wall - (clock.elapsed() - monotonic) > SLEPT_MS
      const seen = look()
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
