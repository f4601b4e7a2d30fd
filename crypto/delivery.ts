/**
 * A secret on its way: sealed to one reader, for one request. Whoever terminates TLS, logs or caches on the way gains nothing, and a box
 * cannot be passed off as another secret, another version or the answer to another request.
 */
import type { FleetId, SealingKey, SecretName } from '../protocol/ids.ts'
import { err, type Result } from '../protocol/result.ts'
import { fromBase64Url, lengthPrefixed, toBase64Url, utf8 } from './bytes.ts'
import { DOMAIN } from './domains.ts'
import { hpkeOpen, hpkeSeal, type importSealingKey } from './hpke.ts'
import type { SecretBytes } from './secret-bytes.ts'

/** What a delivered secret is bound to; `request` is the `jti` of the proof, or the id an administrator's client chose. */
export interface Delivery {
  readonly fleet: FleetId
  readonly name: SecretName
  readonly version: number
  readonly request: string
}

export const sealDelivery = async (to: SealingKey, value: SecretBytes, delivery: Delivery): Promise<string> =>
  toBase64Url(await hpkeSeal(to, value.expose(), context(delivery)))

export async function openDelivery(
  key: Awaited<ReturnType<typeof importSealingKey>>,
  sealed: string,
  delivery: Delivery,
): Promise<Result<SecretBytes, 'corrupt'>> {
  const box = fromBase64Url(sealed)
  return box === undefined ? err('corrupt') : hpkeOpen(key, box, context(delivery))
}

const INFO = utf8(DOMAIN.delivery)

const context = ({ fleet, name, version, request }: Delivery) => ({
  info: INFO,
  aad: lengthPrefixed(fleet, name, String(version), request),
})
