/**
 * What this isolate knows of secrets, so that a read costs no query: rows and small ciphertexts, never a plaintext byte.
 *
 * Every read appends to the audit trail anyway, and the append answers with the secret's stamp, which changes whenever the secret does.
 * What was read from D1 between two equal stamps is true under that stamp, and stays so until an append brings another.
 */
import { MAX_KNOWN_SECRETS } from '../protocol/limits.ts'
import type { Found, Wanted } from './rows.ts'

interface Known {
  readonly stamp: string
  /** Undefined while only the stamp is known. */
  readonly found: Found | undefined
}

export class KnownSecrets {
  readonly #known = new Map<string, Known>()

  get({ name, version }: Wanted): Known | undefined {
    return this.#known.get(key(name, version))
  }

  /** @param before the stamp that was known before D1 was asked, `after` the one the append answered with. */
  learn(
    { name, version }: Wanted,
    found: Found | undefined,
    before: string | undefined,
    after: string | null,
  ): void {
    const id = key(name, version)
    this.#known.delete(id)
    if (after === null) return
    this.#known.set(id, { stamp: after, found: before === after ? found : undefined })
    // A map keeps its order: the first key is the one that was asked for longest ago.
    if (this.#known.size > MAX_KNOWN_SECRETS) this.#known.delete(this.#known.keys().next().value ?? '')
  }
}

const key = (name: string, version: number | undefined): string => `${name}@${version ?? ''}`
