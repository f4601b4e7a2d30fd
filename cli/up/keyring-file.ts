/** keyring.json, the master keys of a gateway's directory: versions are added and taken away, none is ever changed. */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { Keyring } from '../../crypto/keyring.ts'
import { KEY_BYTES } from '../../crypto/secret-frame.ts'
import { writePrivateFile } from '../../host/private-file.ts'
import { takeProcessLock } from '../../host/process-lock.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { damaged, keepText, noGateway, readText } from './state-file.ts'

/** Which master keys there are; as `GET /v1/keys` says it of a running gateway. */
export interface KeyVersions {
  readonly active: number
  readonly versions: readonly number[]
}

interface KeyringText {
  readonly active: number
  readonly keys: Readonly<Record<string, string>>
}

const pathIn = (directory: string): string => join(directory, 'keyring.json')

/** The keyring's text. @param fresh false where a missing one is lost, and not still to be made. */
export function keepKeyring(directory: string, { fresh }: { readonly fresh: boolean }): string {
  const path = pathIn(directory)
  if (!fresh && readText(path) === undefined) throw damaged(path, 'it is missing')
  const text = keepText(path, () => serialise({ active: 1, keys: { 1: newKey() } }))
  parse(path, text)
  return text
}

/** @throws UserError if a version has other bytes than before: what is sealed under them could not be opened. */
export function checkSuccessor(directory: string, before: string, after: string): void {
  const path = pathIn(directory)
  const [old, fresh] = [parse(path, before), parse(path, after)]
  for (const version of old.versions) {
    const [was, is] = [old.key(version), fresh.key(version)]
    if (was !== undefined && is !== undefined && !was.equals(is))
      throw damaged(path, `version ${version} is another key than the one in use`)
  }
}

export function versionsOf(text: string): KeyVersions | undefined {
  const keyring = Keyring.parse(text)
  return keyring && { active: keyring.active, versions: keyring.versions }
}

/** A new key under the next number, active from the next start or reload on. Those before it still open what they sealed. */
export function addMasterKey(directory: string): KeyVersions {
  return edit(directory, ({ keys }, { versions }) => {
    const version = Math.max(...versions) + 1
    return { active: version, keys: { ...keys, [version]: newKey() } }
  })
}

/** For good: what is still sealed under it can then be opened by nobody. @throws UserError if it is active, or not there. */
export function removeMasterKey(directory: string, version: number): KeyVersions {
  return edit(directory, ({ active, keys }, { versions }) => {
    if (!versions.includes(version)) throw noSuchVersion(version, versions)
    if (version === active) throw isActive(version)
    const { [version]: _, ...kept } = keys
    return { active, keys: kept }
  })
}

function edit(directory: string, change: (text: KeyringText, keyring: Keyring) => KeyringText): KeyVersions {
  const path = pathIn(directory)
  if (readText(path) === undefined) throw noGateway(directory)
  // Two that read the same keyring would write each its own, and one of the new keys would be lost with what it has sealed by then.
  const lock = takeProcessLock(join(directory, 'keyring-lock.db'))
  if (lock === undefined) throw isBeingEdited(path)
  try {
    const before = readText(path) ?? ''
    const keyring = parse(path, before)
    const after = serialise(change(JSON.parse(before) as KeyringText, keyring))
    const { active, versions } = parse(path, after)
    writePrivateFile(path, after)
    return { active, versions }
  } finally {
    lock.close()
  }
}

function parse(path: string, text: string): Keyring {
  const keyring = Keyring.parse(text)
  if (keyring === undefined) throw damaged(path, 'it is not a keyring')
  return keyring
}

const serialise = (text: KeyringText): string => JSON.stringify(text)
const newKey = (): string => randomBytes(KEY_BYTES).toString('base64')

const noSuchVersion = (version: number, versions: readonly number[]): UserError =>
  new UserError({
    code: 'E_KEY_VERSION',
    message: `the keyring has no version ${version}`,
    why: `it has ${versions.join(', ')}`,
    exitCode: EXIT.notFound,
  })

const isActive = (version: number): UserError =>
  new UserError({
    code: 'E_KEY_ACTIVE',
    message: `version ${version} of the master key is the one in use`,
    fix: 'add another version first',
    exitCode: EXIT.conflict,
  })

const isBeingEdited = (path: string): UserError =>
  new UserError({
    code: 'E_KEYRING_BUSY',
    message: `another command is changing ${path}`,
    fix: 'try again once it has ended',
    exitCode: EXIT.conflict,
  })
