/**
 * The age keys of the person who types: with them sealed secrets are read again, by `claw` and by the stock `age`. One is made at first
 * use; it is in no gateway, and what is sealed to it and to no node is lost with it.
 */

import type { SecretBytes } from '../../crypto/secret-bytes.ts'
import { generateX25519 } from '../../crypto/x25519.ts'
import {
  ageIdentityOf,
  ageRecipientOf,
  ageRecipientOfIdentity,
  parseAgeIdentity,
  parseAgeRecipient,
} from '../../host/age.ts'
import { usageError } from '../../host/options.ts'
import { readPrivateFile } from '../../host/private-file.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { AGE_IDENTITY_VARIABLE, createOwnFile, ownPath, readOwnFile } from '../own-directory.ts'

const OWN_IDENTITY = 'age-identity.txt'
/** Colleagues and spare keys to which everything is sealed as well: one `age1...` a line. */
const OWN_RECIPIENTS = 'age-recipients.txt'

/** @param file named by a flag. @throws UserError if there is no key. */
export function readOwnerKeys(file: string | undefined): SecretBytes[] {
  const named = file ?? process.env[AGE_IDENTITY_VARIABLE]
  const path = named ?? ownPath(OWN_IDENTITY)
  const text = named === undefined ? readOwnFile(OWN_IDENTITY) : readText(named)
  if (text === undefined) throw missing(path)
  const keys = parseIdentities(path, text)
  if (keys.length === 0) throw unusable(path, 'it holds no key')
  return keys
}

/** Whom everything is sealed to beside the nodes. A first key is made if there is none. */
export async function ownerRecipients(
  file: string | undefined,
  further: readonly string[],
): Promise<string[]> {
  if (file === undefined && process.env[AGE_IDENTITY_VARIABLE] === undefined) await makeFirstKey()
  const keys = readOwnerKeys(file)
  const own = await Promise.all(keys.map(ageRecipientOfIdentity))
  for (const key of keys) key.wipe()
  const kept = lines(readOwnFile(OWN_RECIPIENTS) ?? '').map(({ text }) => text)
  const others = await Promise.all([
    ...kept.map((text) => readRecipient(text, ownPath(OWN_RECIPIENTS))),
    ...further.map((text) => readRecipient(text, '--recipient')),
  ])
  return [...new Set([...own, ...others])]
}

async function makeFirstKey(): Promise<void> {
  if (readOwnFile(OWN_IDENTITY) !== undefined) return
  using key = generateX25519()
  const recipient = await ageRecipientOfIdentity(key)
  const text = `# age key of claw; sealed secrets are lost without it\n# public key: ${recipient}\n${ageIdentityOf(key)}\n`
  if (!createOwnFile(OWN_IDENTITY, text)) return
  process.stderr.write(`
A key of yours was made: ${ownPath(OWN_IDENTITY)}
BACK IT UP NOW, somewhere else than on this machine. The gateway does not have it and cannot bring it back:
without it nobody but the nodes can ever read what you seal.

`)
}

function parseIdentities(path: string, text: string): SecretBytes[] {
  return lines(text).map(({ text: identity, line }) => {
    const key = parseAgeIdentity(identity)
    if (key === undefined)
      throw unusable(path, `line ${line} is not an X25519 key of age (AGE-SECRET-KEY-1...)`)
    return key
  })
}

async function readRecipient(text: string, source: string): Promise<string> {
  const key = await parseAgeRecipient(text)
  if (key !== undefined) return ageRecipientOf(key)
  throw usageError(`${source}: ${JSON.stringify(text)} is not an X25519 recipient of age (age1...)`)
}

function readText(path: string): string | undefined {
  const bytes = readPrivateFile(path)
  return bytes && Buffer.from(bytes).toString('utf8')
}

/** As age reads its files: one key a line, comments behind `#`. */
const lines = (text: string): { text: string; line: number }[] =>
  text
    .split('\n')
    .map((line, index) => ({ text: line.trim(), line: index + 1 }))
    .filter(({ text }) => text !== '' && !text.startsWith('#'))

const missing = (path: string): UserError =>
  new UserError({
    code: 'E_AGE_IDENTITY',
    message: `${path} is not there, and without an age key no sealed secret can be read`,
    fix: `name yours with --identity FILE or ${AGE_IDENTITY_VARIABLE}`,
    exitCode: EXIT.auth,
  })

const unusable = (path: string, why: string): UserError =>
  new UserError({
    code: 'E_AGE_IDENTITY',
    message: `${path} is not a file of age keys`,
    why,
    fix: 'make one with age-keygen, or let claw make it; keys behind a passphrase are not read',
    exitCode: EXIT.badConfig,
  })
