/**
 * What `claw up` has its Worker do, through the default export of worker/embedded.ts. Miniflare's own proxies would do it, too, for a thread of
 * their own and a second of processor time.
 */
import { randomBytes } from 'node:crypto'
import type { Miniflare } from 'miniflare'

export class Keeper {
  /** Whoever else reaches Miniflare's entry does not have it. */
  readonly #key = randomBytes(32).toString('base64url')
  readonly #migrations: string

  /** @param migrations as worker/embedded.ts reads them. */
  constructor(migrations: string) {
    this.#migrations = migrations
  }

  /** For the Worker; what it can be asked for holds nothing that comes with the request. */
  get bindings(): Readonly<Record<string, string>> {
    return { KEEPER_KEY: this.#key, MIGRATIONS: this.#migrations }
  }

  /** @throws if it was not done; the Worker has then said why in its log. */
  async ask(miniflare: Miniflare, path: '/migrate' | '/sweep'): Promise<void> {
    const headers = { 'claw-keeper': this.#key }
    const { status } = await miniflare.dispatchFetch(`http://localhost${path}`, { method: 'POST', headers })
    if (status !== 204) throw new Error(`the gateway answered ${path} with ${status}`)
  }
}
