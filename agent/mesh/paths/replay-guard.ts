/** Which pings of one peer are new. They come out of order by a little, and a peer's clock may be wrong, but not run backwards. */

/** Longer than a packet is under way. */
const WINDOW_MS = 10_000
/** A clock that is this wrong would make every later ping look old. */
const MAX_AHEAD_MS = 10 * 60_000
const MAX_REMEMBERED = 512

export class ReplayGuard {
  readonly #heard = new Map<string, number>()
  #newest = Number.NEGATIVE_INFINITY
  /** Up to here nobody remembers what was heard. */
  #floor = Number.NEGATIVE_INFINITY

  /** @param at when it was sent, and `now`, in Unix ms. */
  admit(txid: string, at: number, now: number): boolean {
    if (at > now + MAX_AHEAD_MS || at <= this.#floor || this.#heard.has(txid)) return false
    this.#heard.set(txid, at)
    this.#newest = Math.max(this.#newest, at)
    this.#floor = Math.max(this.#floor, this.#newest - WINDOW_MS)
    for (const [old, sentAt] of this.#heard) {
      if (sentAt > this.#floor && this.#heard.size <= MAX_REMEMBERED) break
      this.#heard.delete(old)
      this.#floor = Math.max(this.#floor, sentAt)
    }
    return true
  }
}
