/** The secrets of the fake gateway: versions, classes and refusals, each sealed to the node that asks. */
import { sealDelivery } from '../../crypto/delivery.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import type { FleetId, SealingKey, SecretName } from '../../protocol/ids.ts'
import { err, ok, type Result } from '../../protocol/result.ts'
import type { NodeSecretsBody, NodeSecretsReply, SecretClass } from '../../protocol/secrets.ts'

export interface FakeSecret {
  /** Of the newest version; of the sealed class it is the age file. */
  readonly value: Uint8Array
  readonly allowed: boolean
  /** 1 unless it is another. */
  readonly version?: number
  readonly class?: SecretClass
  /** Versions that may still be asked for by number. */
  readonly older?: Readonly<Record<number, Uint8Array>>
  /** Why it is not given, if not for want of a rule. */
  readonly refusal?: ErrorCode
}

export interface FakeRefusal {
  readonly code: ErrorCode
  readonly detail: string
}

interface Reader {
  readonly fleet: FleetId
  readonly sealTo: SealingKey
  readonly request: string
}

/** All that are asked for, or why the first of the others is not given. */
export async function deliver(
  secrets: ReadonlyMap<string, FakeSecret>,
  { secrets: asked }: NodeSecretsBody,
  { fleet, sealTo, request }: Reader,
): Promise<Result<NodeSecretsReply, FakeRefusal>> {
  const items: NodeSecretsReply['items'] = []
  for (const { name, version: wanted } of asked) {
    const found = find(secrets.get(name), wanted)
    if (!found.ok) return err({ code: found.error, detail: `secret ${name}` })
    const { value, version, class: secretClass } = found.value
    const binding = { fleet, name: name as SecretName, version, request }
    const sealed = await sealDelivery(sealTo, SecretBytes.take(new Uint8Array(value)), binding)
    items.push({ name: name as SecretName, version, class: secretClass, sealed })
  }
  return ok({ fleet, items })
}

interface Found {
  readonly value: Uint8Array
  readonly version: number
  readonly class: SecretClass
}

function find(secret: FakeSecret | undefined, wanted: number | undefined): Result<Found, ErrorCode> {
  if (secret === undefined) return err('E_SECRET_NOT_FOUND')
  if (secret.refusal !== undefined) return err(secret.refusal)
  if (!secret.allowed) return err('E_SECRET_DENIED')
  const { version: newest = 1, class: secretClass = 'managed', older = {} } = secret
  const version = wanted ?? newest
  const value = version === newest ? secret.value : older[version]
  return value === undefined ? err('E_SECRET_VERSION_NOT_FOUND') : ok({ value, version, class: secretClass })
}
