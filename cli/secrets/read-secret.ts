/** Reading a value: delivered sealed to a key made for this one request, and opened here, with the owner's key where it is an age file. */
import { randomId } from '../../crypto/bytes.ts'
import { openDelivery } from '../../crypto/delivery.ts'
import { importSealingKey } from '../../crypto/hpke.ts'
import type { SecretBytes } from '../../crypto/secret-bytes.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import { ageDecrypt, ageIdentityOf } from '../../host/age.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { SealingKey, type SecretName } from '../../protocol/ids.ts'
import type { SecretClass } from '../../protocol/secrets.ts'
import type { AdminClient } from '../admin-client.ts'
import { readOwnerKeys } from './owner-keys.ts'

export interface ReadSecret {
  readonly value: SecretBytes
  readonly version: number
  readonly class: SecretClass
}

interface ReadOptions {
  /** The newest, if undefined. */
  readonly version?: number | undefined
  /** For the trail. */
  readonly purpose?: string
}

/** All that is asked of a gateway here. */
type Reading = Pick<AdminClient, 'readSecret'>

/** @param identity file of the age key, where it was named. */
export async function readSecret(
  client: Reading,
  name: SecretName,
  identity: string | undefined,
  options: ReadOptions = {},
): Promise<ReadSecret> {
  const delivered = await fetchSecret(client, name, options)
  if (delivered.class === 'managed') return delivered
  using file = delivered.value
  return { ...delivered, value: await openSealed(name, file.expose(), identity) }
}

/** As the gateway has it: of the sealed class, the age file. */
export async function fetchSecret(
  client: Reading,
  name: SecretName,
  { version: wanted, purpose }: ReadOptions = {},
): Promise<ReadSecret> {
  using privateKey = generateX25519()
  const key = await importSealingKey(privateKey)
  const request = randomId()
  const { fleet, item } = await client.readSecret(name, {
    sealTo: SealingKey.parse(await x25519PublicKey(privateKey)),
    request,
    ...(wanted !== undefined && { version: wanted }),
    ...(purpose !== undefined && { purpose }),
  })
  const { version, sealed } = item
  if (wanted !== undefined && version !== wanted) throw corruptDelivery(name)
  const opened = await openDelivery(key, sealed, { fleet, name, version, request })
  if (!opened.ok) throw corruptDelivery(name)
  return { value: opened.value, version, class: item.class }
}

export async function openSealed(
  name: SecretName,
  file: Uint8Array,
  identity: string | undefined,
): Promise<SecretBytes> {
  const keys = readOwnerKeys(identity)
  try {
    for (const key of keys) {
      const opened = await ageDecrypt(ageIdentityOf(key), file, name)
      if (opened.ok) return opened.value
    }
  } finally {
    for (const key of keys) key.wipe()
  }
  throw new UserError({
    code: 'E_SEALED_UNREADABLE',
    message: `secret ${name} does not open with your age key`,
    why: 'it is sealed to others, or the gateway has exchanged or changed it',
    fix: 'name another key with --identity FILE, or have somebody who can read it seal it to yours',
    exitCode: EXIT.denied,
  })
}

const corruptDelivery = (name: SecretName): UserError =>
  new UserError({
    code: 'E_DELIVERY_CORRUPT',
    message: `what came is not secret ${name}, sealed for this request`,
    why: 'it was changed or exchanged on its way',
  })
