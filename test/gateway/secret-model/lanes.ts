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

  /** Here others may run. */
  turn(): Promise<void> {
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

/** @param choose one of those that are not at their end. */
export async function takeTurns(
  lanes: readonly Lane[],
  choose: (open: readonly Lane[]) => Lane | undefined,
): Promise<void> {
  for (;;) {
    const open = lanes.filter(({ ended }) => !ended)
    if (open.length === 0) return
    await (choose(open) ?? open[0])?.step()
  }
}
