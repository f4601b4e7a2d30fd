/** Names of secrets, names of variables, and folders. */
import { usageError } from '../../host/options.ts'
import { ERRORS } from '../../protocol/errors.ts'
import { SecretName } from '../../protocol/ids.ts'
import { err, ok, type Result } from '../../protocol/result.ts'

/** Before a value is typed in vain. */
export function parseSecretName(text: string): SecretName {
  const name = SecretName.safeParse(text)
  if (name.success) return name.data
  throw usageError(`${JSON.stringify(text)} is not the name of a secret`, ERRORS.E_SECRET_NAME.title)
}

/** A folder as people name it: `app` and `app/` are the same one, and none is the whole. Without the slash. */
export function parseFolder(text: string | undefined): SecretName | undefined {
  const folder = text?.replace(/\/$/, '')
  return folder === undefined || folder === '' ? undefined : parseSecretName(folder)
}

/** In the folder, at any depth; a secret of the folder's own name counts as well, as a file does for `ls`. */
export const isIn = (folder: SecretName | undefined, name: string): boolean =>
  folder === undefined || name === folder || name.startsWith(`${folder}/`)

/** The name under which a variable or a JSON key is kept: lower case, what a name cannot hold as `_`. */
export function nameOfKey(
  folder: SecretName | undefined,
  key: readonly string[],
): Result<{ readonly name: SecretName; readonly altered: boolean }, 'no-name'> {
  const parts = key.flatMap((part) => part.split('/'))
  const mended = parts.map((part) =>
    part
      .toLowerCase()
      .replace(/[^a-z0-9._-]/g, '_')
      .replace(/^[._-]+|[.-]+$/g, ''),
  )
  const name = SecretName.safeParse([...(folder === undefined ? [] : [folder]), ...mended].join('/'))
  // That letters become small is the rule, and no surprise.
  const altered = mended.some((part, index) => part !== parts[index]?.toLowerCase())
  return name.success ? ok({ name: name.data, altered }) : err('no-name')
}

/** The variable of a secret: what is below the folder, in capitals. */
export function variableOf(folder: SecretName | undefined, name: string): string {
  const below = folder !== undefined && name.startsWith(`${folder}/`) ? name.slice(folder.length + 1) : name
  const variable = below.toUpperCase().replace(/[^A-Z0-9]/g, '_')
  return /^[0-9]/.test(variable) ? `_${variable}` : variable
}
