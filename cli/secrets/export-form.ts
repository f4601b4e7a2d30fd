/** Secrets as a `.env` or JSON file, such as `import` reads back to the same values. */
import { fromUtf8 } from '../../crypto/bytes.ts'
import type { SecretBytes } from '../../crypto/secret-bytes.ts'
import { UserError } from '../../host/user-error.ts'
import type { SecretName } from '../../protocol/ids.ts'
import { dotenvLine } from './dotenv.ts'
import { BYTES_KEY } from './import-file.ts'
import { variableOf } from './names.ts'

export interface Exported {
  readonly name: SecretName
  readonly value: SecretBytes
}

export function asJson(secrets: readonly Exported[]): string {
  const entries = secrets.map(({ name, value }) => {
    const text = textOf(value)
    return [name, text ?? { [BYTES_KEY]: Buffer.from(value.expose()).toString('base64') }] as const
  })
  return `${JSON.stringify(Object.fromEntries(entries), null, 2)}\n`
}

/** @throws UserError for a value or a name that not every reader of such a file would read as the same. */
export function asDotenv(folder: SecretName | undefined, secrets: readonly Exported[]): string {
  const names = new Map<string, SecretName>()
  const lines = secrets.map(({ name, value }) => {
    const variable = variableOf(folder, name)
    const other = names.get(variable)
    if (other !== undefined) throw notExpressible(`${other} and ${name} would both be ${variable}`)
    names.set(variable, name)
    const text = textOf(value)
    const line = text === undefined ? undefined : dotenvLine(variable, text)
    if (line === undefined)
      throw notExpressible(`the value of ${name} has characters that such a file cannot hold safely`)
    return line
  })
  return lines.join('')
}

function textOf(value: SecretBytes): string | undefined {
  try {
    return fromUtf8(value.expose())
  } catch {
    return undefined
  }
}

const notExpressible = (why: string): UserError =>
  new UserError({
    code: 'E_EXPORT_FORM',
    message: 'nothing is exported: a .env file cannot hold all of it',
    why,
    fix: 'use --format json',
  })
