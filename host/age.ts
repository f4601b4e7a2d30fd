/**
 * Values of the sealed class: age files (age-encryption.org/v1) to X25519 recipients, so that the stock `age` opens them too. A node's
 * sealing key is such a recipient; no other kind is written or read here.
 *
 * A file may carry the name of its secret: a stanza that age passes over, under the header's MAC, which only its writer and its readers can
 * make. Whoever keeps the files cannot then hand out one as another, to be read, or sealed anew, for the other's readers.
 *
 * The library comes with the first value: most nodes never need it, and an agent's memory is budgeted.
 */
import { fromBase64Url, toBase64Url } from '../crypto/bytes.ts'
import { SecretBytes } from '../crypto/secret-bytes.ts'
import { isSafeX25519, x25519PublicKey } from '../crypto/x25519.ts'
import { SealingKey, type SecretName } from '../protocol/ids.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { fromBech32, toBech32 } from './bech32.ts'

const RECIPIENT_PREFIX = 'age'
const IDENTITY_PREFIX = 'age-secret-key-'
const NAME_STANZA = 'claw-secret'
const KEY_BYTES = 32

/** `AGE-SECRET-KEY-1...`: a string cannot be wiped, so make it where it is used and keep the bytes. */
export const ageIdentityOf = (sealing: SecretBytes): string =>
  toBech32(IDENTITY_PREFIX, sealing.expose()).toUpperCase()

/** `age1...` */
export function ageRecipientOf(key: SealingKey): string {
  const bytes = fromBase64Url(key)
  if (bytes?.length !== KEY_BYTES) throw new TypeError('not a sealing key')
  return toBech32(RECIPIENT_PREFIX, bytes)
}

/** The private key in `AGE-SECRET-KEY-1...`; undefined for anything else, so that the text never reaches a message. */
export function parseAgeIdentity(text: string): SecretBytes | undefined {
  const bytes = text.startsWith('AGE-') ? fromBech32(IDENTITY_PREFIX, text) : undefined
  return bytes?.length === KEY_BYTES ? SecretBytes.take(bytes) : undefined
}

/** The public key in `age1...`; undefined for anything else, and for a key to which nothing can be encrypted safely. */
export async function parseAgeRecipient(text: string): Promise<SealingKey | undefined> {
  const bytes = text.startsWith('age1') ? fromBech32(RECIPIENT_PREFIX, text) : undefined
  if (bytes?.length !== KEY_BYTES) return undefined
  const key = SealingKey.parse(toBase64Url(bytes))
  return (await isSafeX25519(key)) ? key : undefined
}

export const ageRecipientOfIdentity = async (privateKey: SecretBytes): Promise<string> =>
  ageRecipientOf(SealingKey.parse(await x25519PublicKey(privateKey)))

/**
 * @param secret whose value it is, if the file is to carry that.
 * @throws Error for a text that is no recipient, and for none at all: a file that nobody can open is a lost value.
 */
export async function ageEncrypt(
  recipients: readonly string[],
  value: SecretBytes,
  secret?: SecretName,
): Promise<Uint8Array> {
  if (recipients.length === 0) throw new RangeError('an age file needs a recipient')
  const { Encrypter, Stanza } = await import('age-encryption')
  const encrypter = new Encrypter()
  for (const recipient of new Set(recipients)) {
    if (fromBech32(RECIPIENT_PREFIX, recipient)?.length !== KEY_BYTES)
      throw new TypeError('not an X25519 recipient')
    encrypter.addRecipient(recipient)
  }
  if (secret !== undefined)
    encrypter.addRecipient({ wrapFileKey: () => [new Stanza([NAME_STANZA, secret], new Uint8Array())] })
  return encrypter.encrypt(value.expose())
}

/**
 * `corrupt` also for a file that is encrypted to others. @param secret whose value the file must say it is.
 * @throws Error for a text that is no identity.
 */
export async function ageDecrypt(
  identity: string,
  file: Uint8Array,
  secret?: SecretName,
): Promise<Result<SecretBytes, 'corrupt'>> {
  const { Decrypter } = await import('age-encryption')
  const decrypter = new Decrypter()
  decrypter.addIdentity(identity)
  try {
    const value = SecretBytes.take(await decrypter.decrypt(file))
    // Only now is the header known to be what its writer wrote.
    if (secret === undefined || ageSecretName(file) === secret) return ok(value)
    value.wipe()
  } catch {
    // The library throws for every kind of file that is not as it should be.
  }
  return err('corrupt')
}

/** To how many X25519 recipients the file is encrypted, as its header says; undefined if it has no header of age. */
export const ageRecipientStanzas = (file: Uint8Array): number | undefined =>
  headerLines(file)?.filter((line) => /^-> X25519 [A-Za-z0-9+/]{43}$/.test(line)).length

/** Whose value it says it is: once, or not at all. */
function ageSecretName(file: Uint8Array): string | undefined {
  const named = headerLines(file)?.filter((line) => line.startsWith(`-> ${NAME_STANZA} `)) ?? []
  return named.length === 1 ? named[0]?.slice(`-> ${NAME_STANZA} `.length) : undefined
}

/** First line to the MAC, without it. */
function headerLines(file: Uint8Array): string[] | undefined {
  const lines: string[] = []
  let start = 0
  for (let end = file.indexOf(0x0a); end >= 0; end = file.indexOf(0x0a, start)) {
    const line = Buffer.from(file.subarray(start, end)).toString('latin1')
    if (lines.length === 0 && line !== 'age-encryption.org/v1') return undefined
    if (/^--- [A-Za-z0-9+/]{43}$/.test(line)) return lines
    lines.push(line)
    start = end + 1
  }
  return undefined
}
