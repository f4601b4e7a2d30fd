/** Secret values on their way into the gateway and out of it. */
import { readFileSync } from 'node:fs'
import { buffer } from 'node:stream/consumers'
import { randomId } from '../crypto/bytes.ts'
import { openDelivery } from '../crypto/delivery.ts'
import { importSealingKey } from '../crypto/hpke.ts'
import type { SecretBytes } from '../crypto/secret-bytes.ts'
import { generateX25519, x25519PublicKey } from '../crypto/x25519.ts'
import { usageError } from '../host/options.ts'
import { UserError } from '../host/user-error.ts'
import { ERRORS } from '../protocol/errors.ts'
import { SecretName } from '../protocol/ids.ts'
import { MAX_SECRET_BYTES } from '../protocol/limits.ts'
import type { AdminClient } from './admin-client.ts'

/** Before a value is typed in vain. */
export function checkSecretName(text: string): void {
  if (!SecretName.safeParse(text).success)
    throw usageError(`${JSON.stringify(text)} is not the name of a secret`, ERRORS.E_SECRET_NAME.title)
}

/** @param file standard input if undefined. */
export async function readValue(file: string | undefined): Promise<Uint8Array> {
  if (file === undefined && process.stdin.isTTY)
    process.stderr.write('Type the value, then end it with Ctrl-D.\n')
  const value = file === undefined ? await buffer(process.stdin) : readFile(file)
  if (value.length > MAX_SECRET_BYTES) {
    throw new UserError({ code: 'E_SECRET_TOO_LARGE', message: ERRORS.E_SECRET_TOO_LARGE.title })
  }
  return value
}

/** Sealed to a key that exists for this one request: who terminates TLS on the way sees nothing. */
export async function readSecret(
  client: AdminClient,
  name: string,
): Promise<{ readonly value: SecretBytes; readonly version: number }> {
  using privateKey = generateX25519()
  const key = await importSealingKey(privateKey)
  const request = randomId()
  const { fleet, item } = await client.readSecret(name, {
    sealTo: await x25519PublicKey(privateKey),
    request,
  })
  const { version, sealed } = item
  const opened = await openDelivery(key, sealed, { fleet, name: SecretName.parse(name), version, request })
  if (opened.ok) return { value: opened.value, version }
  throw new UserError({
    code: 'E_DELIVERY_CORRUPT',
    message: `what came is not secret ${name}, sealed for this request`,
    why: 'it was changed or exchanged on its way',
  })
}

function readFile(path: string): Uint8Array {
  try {
    return readFileSync(path)
  } catch (error) {
    const why = error instanceof Error && 'code' in error ? String(error.code) : undefined
    throw new UserError({ code: 'E_FILE_UNREADABLE', message: `${path} cannot be read`, why })
  }
}
