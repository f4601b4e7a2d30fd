/**
 * Takes secrets out of what a command prints, while it prints: every byte that belongs to one is hidden, also where two overlap and where
 * one arrives in pieces. Only what may yet become a secret is held back, so a line is late by no more than that.
 */
import { concat, utf8 } from '../../crypto/bytes.ts'
import { PatternMatcher } from './pattern-matcher.ts'

const MASK = utf8('***')

/** From one position in the stream to another, the second not included. */
interface Range {
  readonly start: number
  readonly end: number
}

/** Of one stream. */
export class OutputMask {
  #matcher: PatternMatcher
  #state = PatternMatcher.start
  /** What is held back, and where in the stream it begins. */
  #held: Uint8Array = new Uint8Array()
  #shown = 0
  /** To be hidden, in what is held back; neither touches the next. */
  readonly #hidden: Range[] = []
  /** Where the last mask that was written ends. What touches it needs no other. */
  #maskedUntil = -1

  constructor(matcher: PatternMatcher) {
    this.#matcher = matcher
  }

  /** Looks for something else from now on, and in what is held back. */
  use(matcher: PatternMatcher): void {
    const before = this.#hidden.splice(0)
    this.#matcher = matcher
    this.#state = PatternMatcher.start
    this.#read(this.#held, this.#shown)
    const all = [...before, ...this.#hidden.splice(0)].sort((a, b) => a.end - b.end)
    for (const { start, end } of all) this.#hide(start, end)
  }

  /** What may be shown now that this has come. */
  write(chunk: Uint8Array): Uint8Array {
    const begin = this.#shown + this.#held.length
    this.#read(chunk, begin)
    return this.#show(concat(this.#held, chunk), begin + chunk.length - this.#matcher.pending(this.#state))
  }

  #read(chunk: Uint8Array, begin: number): void {
    let state = this.#state
    for (let index = 0; index < chunk.length; index++) {
      state = this.#matcher.next(state, chunk[index] ?? 0)
      const length = this.#matcher.matched(state)
      if (length > 0) this.#hide(begin + index + 1 - length, begin + index + 1)
    }
    this.#state = state
  }

  /** The rest: the stream has ended, and nothing more can become a secret. */
  end(): Uint8Array {
    this.#state = PatternMatcher.start
    return this.#show(this.#held, this.#shown + this.#held.length)
  }

  /** Ends come in order; a longer match may begin before an earlier one. */
  #hide(start: number, end: number): void {
    let from = start
    for (let last = this.#hidden.at(-1); last !== undefined && last.end >= from; last = this.#hidden.at(-1)) {
      from = Math.min(from, last.start)
      this.#hidden.pop()
    }
    this.#hidden.push({ start: from, end })
  }

  /** @param bytes of the stream from `#shown` on. @param until which position all is decided. */
  #show(bytes: Uint8Array, until: number): Uint8Array {
    const from = this.#shown
    const parts: Uint8Array[] = []
    let at = from
    for (let range = this.#hidden[0]; range !== undefined && range.start < until; range = this.#hidden[0]) {
      const { start, end } = range
      if (start > at) parts.push(bytes.subarray(at - from, start - from))
      if (start !== this.#maskedUntil) parts.push(MASK)
      at = Math.min(end, until)
      this.#maskedUntil = at
      if (end > until) {
        this.#hidden[0] = { start: until, end }
        break
      }
      this.#hidden.shift()
    }
    if (until > at) parts.push(bytes.subarray(at - from, until - from))
    const shown = concat(...parts)
    this.#held = bytes.slice(until - from)
    this.#shown = until
    return shown
  }
}
