/** Files of a gateway's directory that are made once and kept: read if there, else made, never overwritten. */
import { createPrivateFile, readPrivateFile } from '../../host/private-file.ts'
import { EXIT, UserError } from '../../host/user-error.ts'

export function readText(path: string): string | undefined {
  const bytes = readPrivateFile(path)
  return bytes && Buffer.from(bytes).toString('utf8')
}

export function keepText(path: string, make: () => string): string {
  const existing = readText(path)
  if (existing !== undefined) return existing
  const made = make()
  return createPrivateFile(path, made) ? made : (readText(path) ?? made)
}

/** Of a command that changes what `claw up` has made, where it has made nothing. */
export const noGateway = (directory: string): UserError =>
  new UserError({
    code: 'E_NO_GATEWAY',
    message: `${directory} is not the directory of a gateway`,
    fix: 'name it with --dir',
    exitCode: EXIT.usage,
  })

/** Says which file, never what is in it. */
export const damaged = (path: string, why: string): UserError =>
  new UserError({
    code: 'E_STATE_DAMAGED',
    message: `${path} cannot be used`,
    why,
    fix: 'restore it from a backup; the gateway makes no new one, because what depends on the old one would be lost',
    exitCode: EXIT.badConfig,
  })
