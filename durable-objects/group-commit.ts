/**
 * Group commit: what arrives while the last write is on its way to the disk is written together when that is there. Each event of an object
 * is otherwise committed by itself, and a disk makes some thousand commits a second, however small. What arrives alone does not wait.
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
  #isWriting = false

  /** @param write all of them in one transaction, with a result for each. @param synced resolves when what was written is durable. */
  constructor(synced: () => Promise<void>, write: (items: readonly T[]) => readonly R[]) {
    this.#synced = synced
    this.#write = write
  }

  /** @throws what `write` throws, for all that were written together. */
  add(item: T): Promise<R> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      if (!this.#isWriting) this.#flush()
    })
  }

  #flush(): void {
    const group = this.#waiting
    this.#waiting = []
    this.#isWriting = true
    try {
      const results = this.#write(group.map(({ item }) => item))
      group.forEach(({ resolve }, index) => {
        resolve(results[index] as R)
      })
    } catch (error) {
      for (const { reject } of group) reject(error)
    }
    const next = (): void => {
      this.#isWriting = false
      if (this.#waiting.length > 0) this.#flush()
    }
    this.#synced().then(next, next)
  }
}
