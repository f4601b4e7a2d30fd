/**
 * The one holder of secret bytes (I-1). It prints as a redaction marker however it is printed, compares in constant time and can be wiped.
 *
 * What it cannot do: wipe copies that a garbage collector, a JavaScript string or a native library has made. Plaintext is therefore kept
 * as bytes and never turned into a string on its way.
 */
import { equalBytes } from '@noble/ciphers/utils.js'

export class SecretBytes {
  #bytes: Uint8Array | undefined

  private constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** Takes ownership: the given array is wiped when this is. */
  static take(bytes: Uint8Array): SecretBytes {
    return new SecretBytes(bytes)
  }

  static random(length: number): SecretBytes {
    return new SecretBytes(crypto.getRandomValues(new Uint8Array(length)))
  }

  get length(): number {
    return this.#live().length
  }

  /** The bytes themselves, not a copy. @throws Error once wiped. */
  expose(): Uint8Array {
    return this.#live()
  }

  /** Constant-time in the content; the lengths are not secret. */
  equals(other: SecretBytes): boolean {
    const mine = this.#live()
    const theirs = other.#live()
    return mine.length === theirs.length && equalBytes(mine, theirs)
  }

  wipe(): void {
    this.#bytes?.fill(0)
    this.#bytes = undefined
  }

  [Symbol.dispose](): void {
    this.wipe()
  }

  toString(): string {
    return this.#bytes === undefined ? '[WIPED]' : `[REDACTED ${this.#bytes.length} bytes]`
  }

  toJSON(): string {
    return this.toString()
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString()
  }

  #live(): Uint8Array {
    if (this.#bytes === undefined) throw new Error('secret bytes were used after they were wiped')
    return this.#bytes
  }
}
