/** Where a value becomes a string, which cannot be wiped: an environment holds text, and nothing else does here. */
import type { SecretBytes } from '../../crypto/secret-bytes.ts'
import { UserError } from '../../host/user-error.ts'
import type { SecretReference } from './reference.ts'

/** Strict, and unlike the default it leaves a byte order mark where it is: the value arrives as it was stored. */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Linux holds a variable of up to 128 KiB, with its name and the NUL at its end (MAX_ARG_STRLEN). */
const MAX_VARIABLE_BYTES = 128 * 1024

/** @throws UserError if the value cannot be a variable. */
export function secretText(variable: string, { name }: SecretReference, value: SecretBytes): string {
  const bytes = value.expose()
  if (variable.length + bytes.length + 2 > MAX_VARIABLE_BYTES) throw tooLong(variable, name)
  const text = bytes.includes(0) ? undefined : decode(bytes)
  if (text === undefined) throw notText(variable, name)
  return text
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

const notText = (variable: string, name: string): UserError =>
  new UserError({
    code: 'E_SECRET_NOT_TEXT',
    message: `the secret ${name} cannot be an environment variable`,
    why: 'a variable holds UTF-8 text without NUL',
    fix: `give it as a file: --file ${variable}=${name}`,
  })

const tooLong = (variable: string, name: string): UserError =>
  new UserError({
    code: 'E_SECRET_TOO_LONG',
    message: `the secret ${name} is too long for an environment variable`,
    why: `a variable holds ${MAX_VARIABLE_BYTES} bytes`,
    fix: `give it as a file: --file ${variable}=${name}`,
  })
