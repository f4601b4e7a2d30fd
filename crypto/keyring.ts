/** The master keys: several versions, one active. The version is stored beside each frame, so that an old key opens what it sealed. */
import * as z from 'zod'
import { parseJson } from '../protocol/json.ts'
import { base64ToBase64Url, fromBase64Url } from './bytes.ts'
import { SecretBytes } from './secret-bytes.ts'
import { KEY_BYTES } from './secret-frame.ts'

const KeyringText = z.strictObject({
  active: z.int().positive(),
  keys: z.record(z.string().regex(/^[1-9][0-9]*$/), z.string()),
})

export class Keyring {
  readonly active: number
  readonly #keys: ReadonlyMap<number, SecretBytes>

  private constructor(active: number, keys: ReadonlyMap<number, SecretBytes>) {
    this.active = active
    this.#keys = keys
  }

  /** Reads `{"active":1,"keys":{"1":"<base64>"}}`; undefined if it is anything else, so that the text never reaches a message. */
  static parse(text: string): Keyring | undefined {
    const parsed = KeyringText.safeParse(parseJson(text))
    if (!parsed.success) return undefined
    const keys = new Map<number, SecretBytes>()
    for (const [version, encoded] of Object.entries(parsed.data.keys)) {
      const bytes = fromBase64Url(base64ToBase64Url(encoded))
      if (bytes?.length !== KEY_BYTES) return undefined
      keys.set(Number(version), SecretBytes.take(bytes))
    }
    return keys.has(parsed.data.active) ? new Keyring(parsed.data.active, keys) : undefined
  }

  /** Ascending. */
  get versions(): number[] {
    return [...this.#keys.keys()].sort((a, b) => a - b)
  }

  /** Undefined if this version was retired. */
  key(version: number): SecretBytes | undefined {
    return this.#keys.get(version)
  }
}
