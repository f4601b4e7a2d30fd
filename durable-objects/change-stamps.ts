/**
 * When each target of the trail was last changed, as far as this object remembers: whoever keeps what they have read compares the stamp
 * they saw before with the one their next append answers with. A stamp of an earlier life of the object equals none of this one.
 */
import { randomId } from '../crypto/bytes.ts'
import { MAX_CHANGE_STAMPS } from '../protocol/limits.ts'

export class ChangeStamps {
  #boot = randomId()
  readonly #changes = new Map<string, number>()
  readonly #open = new Map<string, number>()

  /** Null while the target is being changed. */
  of(target: string): string | null {
    return this.#open.has(target) ? null : `${this.#boot}.${this.#changes.get(target) ?? 0}`
  }

  opened(target: string): void {
    this.#open.set(target, (this.#open.get(target) ?? 0) + 1)
    this.#count(target)
  }

  settled(target: string): void {
    const left = (this.#open.get(target) ?? 1) - 1
    if (left === 0) this.#open.delete(target)
    else this.#open.set(target, left)
    this.#count(target)
  }

  #count(target: string): void {
    if (this.#changes.size >= MAX_CHANGE_STAMPS && !this.#changes.has(target)) {
      // Forgetting one would give it back a stamp of the past: all are forgotten, under a new name.
      this.#boot = randomId()
      this.#changes.clear()
    }
    this.#changes.set(target, (this.#changes.get(target) ?? 0) + 1)
  }
}
