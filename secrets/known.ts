/**
 * What this isolate knows of secrets, so that a read costs no query: rows and small ciphertexts, never a plaintext byte.
 *
 * Every read appends to the audit trail anyway, and the append answers with the secret's stamp, which changes whenever the secret does.
 * What was read from D1 between two equal stamps is true under that stamp, and stays so until an append brings another.
 */
import { MAX_KNOWN_BYTES, MAX_KNOWN_SECRETS } from '../protocol/limits.ts'
import type { Found, Wanted } from './rows.ts'

interface Known {
  readonly stamp: string
  /** Undefined while only the stamp is known. */
  readonly found: Found | undefined
  readonly bytes: number
}

export class KnownSecrets {
  readonly #known = new Map<string, Known>()
  #bytes = 0

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
    this.#forget(id)
    if (after === null) return
    const held = before === after ? found : undefined
    const bytes = held === undefined ? 0 : bytesOf(held)
    this.#known.set(id, { stamp: after, found: held, bytes })
    this.#bytes += bytes
    // A map keeps its order: the first key is the one that was asked for longest ago.
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MAX_KNOWN_SECRETS && this.#bytes <= MAX_KNOWN_BYTES) break
      this.#forget(oldest)
    }
  }

  /** The secret has changed: its rows are looked up again, and a read of them is spared an entry that turns out to be of the past. */
  outdate(name: string): void {
    const id = key(name, undefined)
    const known = this.#known.get(id)
    if (known === undefined) return
    this.#bytes -= known.bytes
    this.#known.set(id, { stamp: known.stamp, found: undefined, bytes: 0 })
  }

  #forget(id: string): void {
    this.#bytes -= this.#known.get(id)?.bytes ?? 0
    this.#known.delete(id)
  }
}

/** Objects take some four times what their JSON does. */
const bytesOf = ({ secret: { policy, settings }, version }: Found): number =>
  4 * JSON.stringify([policy, settings]).length + (version?.frame?.length ?? 0)

const key = (name: string, version: number | undefined): string => `${name}@${version ?? ''}`
