/** What `claw` keeps for the person who types it, whichever gateway it talks to: a key, and what it has seen before. 0700, files 0600. */
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import {
  checkPrivateDirectory,
  createPrivateFile,
  ensurePrivateDirectory,
  readPrivateFile,
  writePrivateFile,
} from '../host/private-file.ts'

export const OWN_DIRECTORY_VARIABLE = 'CLAW_HOME'
/** Names a file of age keys that is used instead of the one kept here. */
export const AGE_IDENTITY_VARIABLE = 'CLAW_AGE_IDENTITY'

const directory = (): string =>
  resolve(
    process.env[OWN_DIRECTORY_VARIABLE] ||
      join(process.env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state'), 'claw'),
  )

export const ownPath = (name: string): string => join(directory(), name)

/** Undefined if there is none. @throws UserError if others could have read or written it. */
export function readOwnFile(name: string): string | undefined {
  checkPrivateDirectory(directory())
  const bytes = readPrivateFile(ownPath(name))
  return bytes && Buffer.from(bytes).toString('utf8')
}

export function writeOwnFile(name: string, content: string): void {
  ensurePrivateDirectory(directory())
  writePrivateFile(ownPath(name), content)
}

/** False if there is one already, which stays. */
export function createOwnFile(name: string, content: string): boolean {
  ensurePrivateDirectory(directory())
  return createPrivateFile(ownPath(name), content)
}
