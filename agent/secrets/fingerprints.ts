/** Tells whether values are still the same without keeping them: a keyed hash of each, under a key that nobody else has. */
import { blake3 } from '@noble/hashes/blake3.js'
import { randomBytes } from '../../crypto/bytes.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import type { Secrets } from './kept-secrets.ts'

const KEY_BYTES = 32

export class Fingerprints {
  readonly #key = randomBytes(KEY_BYTES)
  #held = new Map<string, SecretBytes>()

  /** References whose value is another than when they were last remembered. */
  changed(secrets: Secrets): string[] {
    return [...secrets].flatMap(([reference, { value }]) => {
      const before = this.#held.get(reference)
      return before?.equals(this.#of(value)) === true ? [] : [reference]
    })
  }

  remember(secrets: Secrets): void {
    this.#held = new Map(Array.from(secrets, ([reference, { value }]) => [reference, this.#of(value)]))
  }

  #of(value: SecretBytes): SecretBytes {
    return SecretBytes.take(blake3(value.expose(), { key: this.#key, dkLen: KEY_BYTES }))
  }
}
