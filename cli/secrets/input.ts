/** Values on their way in: from a file, from standard input, or drawn here. Never from an argument, which every user of the machine can read. */
import { readFileSync } from 'node:fs'
import { buffer } from 'node:stream/consumers'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { UserError } from '../../host/user-error.ts'
import { ERRORS } from '../../protocol/errors.ts'
import { MAX_SECRET_BYTES } from '../../protocol/limits.ts'

/** @param file standard input if undefined. */
export async function readValue(file: string | undefined): Promise<SecretBytes> {
  if (file === undefined && process.stdin.isTTY)
    process.stderr.write('Type the value, then end it with Ctrl-D.\n')
  return checkedValue(file === undefined ? await buffer(process.stdin) : readInputFile(file))
}

/** @throws UserError if it is larger than a secret may be. */
function checkedValue(bytes: Uint8Array): SecretBytes {
  if (bytes.length > MAX_SECRET_BYTES)
    throw new UserError({ code: 'E_SECRET_TOO_LARGE', message: ERRORS.E_SECRET_TOO_LARGE.title })
  return SecretBytes.take(bytes)
}

export function readInputFile(path: string): Uint8Array {
  try {
    return readFileSync(path)
  } catch (error) {
    const why = error instanceof Error && 'code' in error ? String(error.code) : undefined
    throw new UserError({ code: 'E_FILE_UNREADABLE', message: `${path} cannot be read`, why })
  }
}
