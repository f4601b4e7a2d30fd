/**
 * Group commit: what arrives while the last write is on its way to the disk is written together when that is there. Each event of an object
 * is otherwise committed by itself, and a disk makes some thousand commits a second, however small. What arrives alone waits for one turn of
 * the event loop, in which others that are already under way arrive too.
 */
interface Waiting<T, R> {
  readonly item: T
  readonly resolve: (result: R) => void
  readonly reject: (error: unknown) => void
}

export class GroupCommit<T, R> {
  readonly #synced: () => Promise<void>
  readonly #write: (items: readonly T[]) => readonly R[]
  #waiting: Waiting<T, R>[] = []

  /** @param write all of them in one transaction, with a result for each. @param synced resolves when what was written is durable. */
  constructor(synced: () => Promise<void>, write: (items: readonly T[]) => readonly R[]) {
    this.#synced = synced
    this.#write = write
  }

  /** @throws what `write` throws, for all that were written together. */
  add(item: T): Promise<R> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      if (this.#waiting.length > 1) return
      const flush = (): void => this.#flush()
      this.#synced().then(flush, flush)
    })
  }

  #flush(): void {
    const group = this.#waiting
    this.#waiting = []
    try {
      const results = this.#write(group.map(({ item }) => item))
      group.forEach(({ resolve }, index) => {
        resolve(results[index] as R)
      })
    } catch (error) {
      for (const { reject } of group) reject(error)
    }
  }
}
