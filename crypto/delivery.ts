/**
 * A secret on its way: sealed to one reader, for one request. Whoever terminates TLS, logs or caches on the way gains nothing, and a box
 * cannot be passed off as another secret, another version or the answer to another request.
 */
import type { FleetId, SealingKey, SecretName } from '../protocol/ids.ts'
import { DELIVERY_CONTEXT_MS, MAX_DELIVERY_CONTEXTS } from '../protocol/limits.ts'
import { err, type Result } from '../protocol/result.ts'
import { fromBase64Url, lengthPrefixed, toBase64Url, utf8 } from './bytes.ts'
import { DOMAIN } from './domains.ts'
import { HpkeSender, hpkeOpenNumbered, type importSealingKey } from './hpke.ts'
import type { SecretBytes } from './secret-bytes.ts'

/** What a delivered secret is bound to; `request` is the `jti` of the proof, or the id an administrator's client chose. */
export interface Delivery {
  readonly fleet: FleetId
  readonly name: SecretName
  readonly version: number
  readonly request: string
}

/** To a reader who asks once. */
export async function sealDelivery(to: SealingKey, value: SecretBytes, delivery: Delivery): Promise<string> {
  const sender = await HpkeSender.to(to, INFO)
  try {
    return toBase64Url(sender.seal(value.expose(), bindingOf(delivery)))
  } finally {
    sender.wipe()
  }
}

/**
 * To readers who ask again and again: agreeing with each of them anew is a third of the work of a read. Whoever reads this process's memory
 * opens what was sealed under the keys that are kept here, as they would with the master keys beside them.
 */
export class DeliverySealer {
  readonly #kept = new Map<SealingKey, { readonly sender: HpkeSender; readonly since: number }>()

  async seal(to: SealingKey, value: SecretBytes, delivery: Delivery, now: number): Promise<string> {
    this.forgetOld(now)
    // Nothing is waited for once there is one: it may be forgotten, and wiped, at any turn.
    const sender = this.#kept.get(to)?.sender ?? this.#keep(to, await HpkeSender.to(to, INFO), now)
    return toBase64Url(sender.seal(value.expose(), bindingOf(delivery)))
  }

  /** Also where nothing is sealed any more: the minute's sweep says so. */
  forgetOld(now: number): void {
    // A map keeps its order: the first is the one that was agreed on longest ago.
    for (const [oldest, { since }] of this.#kept) {
      // One from the future is of a clock that has been set back.
      const isYoung = since <= now && now < since + DELIVERY_CONTEXT_MS
      if (isYoung && this.#kept.size <= MAX_DELIVERY_CONTEXTS) break
      this.#forget(oldest)
    }
  }

  #keep(to: SealingKey, sender: HpkeSender, now: number): HpkeSender {
    this.#forget(to)
    this.#kept.set(to, { sender, since: now })
    return sender
  }

  #forget(to: SealingKey): void {
    this.#kept.get(to)?.sender.wipe()
    this.#kept.delete(to)
  }
}

export async function openDelivery(
  key: Awaited<ReturnType<typeof importSealingKey>>,
  sealed: string,
  delivery: Delivery,
): Promise<Result<SecretBytes, 'corrupt'>> {
  const box = fromBase64Url(sealed)
  return box === undefined
    ? err('corrupt')
    : hpkeOpenNumbered(key, box, { info: INFO, aad: bindingOf(delivery) })
}

const INFO = utf8(DOMAIN.delivery)

const bindingOf = ({ fleet, name, version, request }: Delivery): Uint8Array =>
  lengthPrefixed(fleet, name, String(version), request)
