/** Signs the audit trail's checkpoints, each size once, when somebody asks. */

import { fromBase64Url } from '../crypto/bytes.ts'
import { formatCheckpoint } from '../crypto/checkpoint.ts'
import type { TreeHead } from '../crypto/merkle-proof.ts'
import { signNote } from '../crypto/signed-note.ts'
import { auditOrigin } from '../protocol/audit.ts'
import { callObject, FLEET_OBJECT } from './call-object.ts'
import { readConfig } from './config.ts'
import type { Env } from './env.ts'

export class CheckpointSigner {
  readonly #env: Env
  #origin: Promise<string> | undefined
  #newest: { readonly size: number; readonly note: Promise<string> } | undefined

  constructor(env: Env) {
    this.#env = env
  }

  checkpoint(head: TreeHead): Promise<string> {
    if (this.#newest?.size === head.size) return this.#newest.note
    const note = this.#sign(head)
    const newest = { size: head.size, note }
    this.#newest = newest
    note.catch(() => {
      if (this.#newest === newest) this.#newest = undefined
    })
    return note
  }

  async #sign(head: TreeHead): Promise<string> {
    const { signing } = await readConfig(this.#env)
    const origin = await this.#readOrigin()
    const key = fromBase64Url(signing.key)
    if (key === undefined) throw new Error("the gateway's key is not base64url")
    return signNote(formatCheckpoint({ origin, ...head }), { name: origin, key }, async (message) => {
      const signature = await crypto.subtle.sign('Ed25519', signing.privateKey, new Uint8Array(message))
      return new Uint8Array(signature)
    })
  }

  /** The fleet's id never changes: asked for once. */
  #readOrigin(): Promise<string> {
    this.#origin ??= callObject(this.#env.FLEET, FLEET_OBJECT, (fleet) => fleet.identity())
      .then(({ id }) => auditOrigin(id))
      .catch((error: unknown) => {
        this.#origin = undefined
        throw error
      })
    return this.#origin
  }
}
