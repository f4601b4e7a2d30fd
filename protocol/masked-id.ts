/**
 * An id that is shown by its first eight characters only, however it is printed (L-2): the type masks it, not whoever writes the log line.
 * Enough to find the lines that belong together, too little to be of use to anyone else. An id of eight characters or fewer is not shown.
 */
const SHOWN = 8

export class MaskedId {
  readonly #id: string

  constructor(id: string) {
    this.#id = id
  }

  toString(): string {
    const characters = [...this.#id]
    return characters.length > SHOWN ? `${characters.slice(0, SHOWN).join('')}…` : '…'
  }

  toJSON(): string {
    return this.toString()
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString()
  }
}
