/**
 * What `claw up` has its Worker do, through the default export of worker/embedded.ts. Miniflare's own proxies would do it, too, for a thread of
 * their own and a second of processor time.
 */
import { randomBytes } from 'node:crypto'
import type { Miniflare } from 'miniflare'

export class Keeper {
  /** Whoever else reaches Miniflare's entry does not have it. */
  readonly #key = randomBytes(32).toString('base64url')

  get binding(): Readonly<Record<string, string>> {
    return { KEEPER_KEY: this.#key }
  }

  /** @throws if it was not done; the Worker has then said why in its log. */
  async ask(miniflare: Miniflare, path: '/migrate' | '/sweep', body?: unknown): Promise<void> {
    const { status } = await miniflare.dispatchFetch(`http://localhost${path}`, {
      method: 'POST',
      headers: { 'claw-keeper': this.#key },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    if (status !== 204) throw new Error(`the gateway answered ${path} with ${status}`)
  }
}
