/**
 * Finds any of many byte strings in a stream, in one pass over it (Aho and Corasick, 1975): each byte costs the same, whatever is looked
 * for and however often it almost occurs. Where it is, is a state; the caller keeps it between chunks.
 */
const BYTES = 256
const ROOT = 0
const NONE = 0

export class PatternMatcher {
  /** Of a state, by its number: first child, next child of the same parent, the byte that leads to it. */
  readonly #child: Int32Array
  readonly #sibling: Int32Array
  readonly #byte: Uint8Array
  /** The state of the longest proper suffix that is itself a beginning of a pattern. */
  readonly #fallback: Int32Array
  /** How many bytes lead here; of a state without children, of the first of its fallbacks that has some. */
  readonly #pending: Int32Array
  /** Length of the longest pattern that ends here; 0 for none. */
  readonly #longest: Int32Array
  /** Children of the root, by byte: that is where a stream without secrets stays. */
  readonly #first = new Int32Array(BYTES)
  #states = 1

  constructor(patterns: readonly Uint8Array[]) {
    const room = patterns.reduce((sum, { length }) => sum + length, 1)
    this.#child = new Int32Array(room)
    this.#sibling = new Int32Array(room)
    this.#byte = new Uint8Array(room)
    this.#fallback = new Int32Array(room)
    this.#pending = new Int32Array(room)
    this.#longest = new Int32Array(room)
    for (const pattern of patterns) this.#add(pattern)
    this.#link()
  }

  static readonly start = ROOT

  /** The state after one more byte. */
  next(state: number, byte: number): number {
    let from = state
    for (;;) {
      const to = this.#follow(from, byte)
      if (to !== NONE || from === ROOT) return to
      from = this.#fallback[from] ?? ROOT
    }
  }

  /** How many of the last bytes may yet become a match. */
  pending(state: number): number {
    return this.#pending[state] ?? 0
  }

  /** How many of the last bytes are one. */
  matched(state: number): number {
    return this.#longest[state] ?? 0
  }

  /** It holds every pattern. Afterwards it finds nothing. */
  wipe(): void {
    this.#byte.fill(0)
    for (const numbers of [
      this.#child,
      this.#sibling,
      this.#fallback,
      this.#pending,
      this.#longest,
      this.#first,
    ])
      numbers.fill(0)
  }

  #follow(state: number, byte: number): number {
    if (state === ROOT) return this.#first[byte] ?? NONE
    let child = this.#child[state] ?? NONE
    while (child !== NONE && this.#byte[child] !== byte) child = this.#sibling[child] ?? NONE
    return child
  }

  #add(pattern: Uint8Array): void {
    let state = ROOT
    for (const byte of pattern) {
      const known = this.#follow(state, byte)
      state = known === NONE ? this.#grow(state, byte) : known
    }
    this.#longest[state] = pattern.length
  }

  #grow(parent: number, byte: number): number {
    const state = this.#states++
    this.#byte[state] = byte
    this.#pending[state] = (this.#pending[parent] ?? 0) + 1
    if (parent === ROOT) this.#first[byte] = state
    this.#sibling[state] = this.#child[parent] ?? NONE
    this.#child[parent] = state
    return state
  }

  /** Breadth first, so that every fallback leads to a state that is done. */
  #link(): void {
    const queue = new Int32Array(this.#states)
    let end = 1
    for (let at = 0; at < end; at++) {
      const state = queue[at] ?? ROOT
      for (let child = this.#child[state] ?? NONE; child !== NONE; child = this.#sibling[child] ?? NONE) {
        queue[end++] = child
        const fallback =
          state === ROOT ? ROOT : this.next(this.#fallback[state] ?? ROOT, this.#byte[child] ?? 0)
        this.#fallback[child] = fallback
        if (this.#child[child] === NONE) this.#pending[child] = this.#pending[fallback] ?? 0
        // A pattern of its own is longer than any that ends in it.
        if (this.#longest[child] === 0) this.#longest[child] = this.#longest[fallback] ?? 0
      }
    }
  }
}
