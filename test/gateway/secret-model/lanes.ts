/**
 * Pieces of work that run in turns, one at a time: each lets the others run wherever it waits for a store. Who goes on is chosen from
 * outside, so that every order that could happen by chance can be made to happen.
 */
export class Lane {
  ended = false
  #wake: () => void
  #paused = Promise.withResolvers<void>()
  readonly #alone: boolean

  constructor(work: (lane: Lane) => Promise<void>, alone = false) {
    this.#alone = alone
    this.#wake = () => {
      work(this).then(
        () => this.end(),
        (error: unknown) => this.#paused.reject(error),
      )
    }
  }

  /** Here others may run; and what was lost with its isolate goes no further, also where it did not wait for what failed. */
  turn(): Promise<void> {
    if (this.ended) return new Promise(() => undefined)
    if (this.#alone) return Promise.resolve()
    return new Promise((resolve) => {
      this.#wake = resolve
      this.#paused.resolve()
    })
  }

  /** Whatever of it is still to come never happens. */
  end(): void {
    this.ended = true
    this.#paused.resolve()
  }

  /** @throws what its work throws. */
  async step(): Promise<void> {
    this.#paused = Promise.withResolvers()
    this.#wake()
    await this.#paused.promise
  }
}

/** Of all lanes, one that is not at its end; or undefined for the first of those. */
export type Choose = (lanes: readonly Lane[]) => Lane | undefined

export async function takeTurns(lanes: readonly Lane[], choose: Choose): Promise<void> {
  for (;;) {
    const first = lanes.find(isOpen)
    if (first === undefined) return
    await (choose(lanes) ?? first).step()
  }
}

export const isOpen = ({ ended }: Lane): boolean => !ended

/** So many turns of one lane, by its number. */
export type Stretch = readonly [lane: number, turns: number]

/** Stretches in their order, each cut short where its lane is at its end. */
export function inStretches(stretches: readonly Stretch[]): {
  choose: Choose
  left(stretch: number): number
} {
  const left = stretches.map(([, turns]) => turns)
  const choose: Choose = (lanes) => {
    if (lanes.length === 1) return undefined
    const next = stretches.findIndex(
      ([lane], index) => (left[index] ?? 0) > 0 && lanes[lane]?.ended === false,
    )
    left[next] = (left[next] ?? 0) - 1
    return lanes[stretches[next]?.[0] ?? -1]
  }
  return { choose, left: (stretch) => left[stretch] ?? 0 }
}
