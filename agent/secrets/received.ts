/** Secrets as they come from the gateway: each opened, and each the one that was asked for. */
import { openDelivery } from '../../crypto/delivery.ts'
import type { SecretBytes } from '../../crypto/secret-bytes.ts'
import { ageDecrypt, ageIdentityOf } from '../../host/age.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import type { FleetId, SecretName } from '../../protocol/ids.ts'
import type { NodeSecretsReply, SecretClass } from '../../protocol/secrets.ts'
import type { NodeKeys } from '../node-keys.ts'
import type { SecretReference } from './reference.ts'

export interface ReceivedSecret {
  readonly value: SecretBytes
  readonly version: number
  readonly class: SecretClass
}

interface Delivery {
  readonly fleet: FleetId
  /** `jti` of the proof that asked for them. */
  readonly request: string
  readonly sealing: NodeKeys['sealing']
}

type Item = NodeSecretsReply['items'][number]

/** All of those asked for; the caller wipes them. @throws UserError if one is not there or does not open, and then the others are wiped. */
export async function openReceived(
  asked: readonly SecretReference[],
  items: readonly Item[],
  delivery: Delivery,
): Promise<Map<SecretName, ReceivedSecret>> {
  const received = new Map<SecretName, ReceivedSecret>()
  try {
    for (const { name, version } of asked) {
      const item = items.find((one) => one.name === name)
      // A version that was asked for by number is that one and no other.
      if (item === undefined || (version ?? item.version) !== item.version) throw undeliverable(name)
      received.set(name, { value: await open(item, delivery), version: item.version, class: item.class })
    }
    return received
  } catch (error) {
    for (const { value } of received.values()) value.wipe()
    throw error
  }
}

async function open(
  { name, version, class: secretClass, sealed }: Item,
  { fleet, request, sealing }: Delivery,
): Promise<SecretBytes> {
  const opened = await openDelivery(sealing.privateKey, sealed, { fleet, name, version, request })
  if (!opened.ok) throw undeliverable(name)
  return secretClass === 'managed' ? opened.value : decrypt(name, opened.value, sealing)
}

/** Of the sealed class: what the gateway forwards is an age file that it cannot read itself, and that says whose value it is. */
async function decrypt(
  name: SecretName,
  file: SecretBytes,
  sealing: NodeKeys['sealing'],
): Promise<SecretBytes> {
  using privateKey = sealing.read()
  const decrypted = await ageDecrypt(ageIdentityOf(privateKey), file.expose(), name)
  if (decrypted.ok) return decrypted.value
  throw new UserError({
    code: 'E_SECRET_NOT_FOR_NODE',
    message: `the sealed secret ${name} does not open with this node's key`,
    why: 'it was not encrypted to this node, or not as the value of this name',
    fix: `an administrator encrypts it anew for the nodes that may read it: claw secret reseal ${name}`,
  })
}

const undeliverable = (name: SecretName): UserError =>
  new UserError({
    code: 'E_DELIVERY_CORRUPT',
    message: `the secret ${name} did not arrive as it was sealed for this node and this request`,
    fix: 'try again; if it stays so, somebody between this machine and the gateway changes what passes',
    exitCode: EXIT.failure,
  })
