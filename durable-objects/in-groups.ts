/**
 * Calls that arrive while one is under way go together as the next: where a thousand ask at once, the one who is asked hears it a few times.
 * Whoever arrives alone goes at once. Nobody joins a call that has begun, so that an answer is never older than its question.
 */
interface Waiting<T, R> {
  readonly item: T
  readonly resolve: (result: R) => void
  readonly reject: (error: unknown) => void
}

export class InGroups<T, R> {
  readonly #call: (items: readonly T[]) => Promise<readonly R[]>
  readonly #most: number
  #waiting: Waiting<T, R>[] = []
  #isUnderWay = false

  /** @param call answers each, in the order given, or throws for all of them. @param most items of one call. */
  constructor(most: number, call: (items: readonly T[]) => Promise<readonly R[]>) {
    this.#most = most
    this.#call = call
  }

  add(item: T): Promise<R> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      if (!this.#isUnderWay) void this.#callAll()
    })
  }

  async #callAll(): Promise<void> {
    this.#isUnderWay = true
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0, this.#most)
      try {
        const results = await this.#call(group.map(({ item }) => item))
        group.forEach(({ resolve }, index) => {
          resolve(results[index] as R)
        })
      } catch (error) {
        for (const { reject } of group) reject(error)
      }
    }
    this.#isUnderWay = false
  }
}
