/** Signed notes (C2SP signed-note v1.0.0) with Ed25519: a text, a blank line, and a line for each signature. */
import { sha256 } from '@noble/hashes/sha2.js'
import { err, ok, type Result } from '../protocol/result.ts'
import { concat, fromBase64, toBase64, utf8 } from './bytes.ts'

const ED25519 = 0x01
const KEY_BYTES = 32
const ID_BYTES = 4
const SIGNATURE_BYTES = 64
/** The least that a verifier has to accept is 16. */
const MAX_SIGNATURES = 32
const MAX_NOTE_LENGTH = 64 * 1024

/** Who signs: a name, and an Ed25519 public key of 32 bytes. */
export interface NoteKey {
  readonly name: string
  readonly key: Uint8Array
}

export type NoteProblem = 'malformed' | 'unsigned' | 'forged'

/** @throws RangeError if the text or the name cannot be in a note. */
export async function signNote(
  text: string,
  signer: NoteKey,
  sign: (message: Uint8Array) => Promise<Uint8Array>,
): Promise<string> {
  if (!isText(text)) throw new RangeError('a note ends with a newline and has no other control character')
  if (!isName(signer.name)) throw new RangeError('a key name has neither space nor plus')
  const signature = concat(keyId(signer), await sign(utf8(text)))
  return `${text}\n— ${signer.name} ${toBase64(signature)}\n`
}

/**
 * The text, once a known key has signed it. Signatures by others are passed over; one in the name of a known key that does not hold spoils the
 * note.
 */
export async function openNote(
  note: string,
  known: readonly NoteKey[],
): Promise<Result<{ readonly text: string; readonly by: NoteKey }, NoteProblem>> {
  const parsed = splitNote(note)
  if (parsed === undefined) return err('malformed')
  const { text, signatures } = parsed
  let by: NoteKey | undefined
  for (const { name, id, signature } of signatures) {
    const key = known.find((one) => one.name === name && sameBytes(keyId(one), id))
    if (key === undefined) continue
    if (!(await verify(key.key, signature, utf8(text)))) return err('forged')
    by ??= key
  }
  return by === undefined ? err('unsigned') : ok({ text, by })
}

/** The text without any check of who wrote it: for a note that was checked before it was put away. */
export const readNoteText = (note: string): string | undefined => splitNote(note)?.text

/** `NAME+ID+KEY`, the form in which other tools take a key. */
export const formatVerifierKey = (key: NoteKey): string =>
  `${key.name}+${toHex(keyId(key))}+${toBase64(concat(Uint8Array.of(ED25519), key.key))}`

/** Undefined for another algorithm, or an id that is not the key's. */
export function parseVerifierKey(text: string): NoteKey | undefined {
  const [, name = '', id, encoded = ''] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(text) ?? []
  const bytes = fromBase64(encoded)
  if (!isName(name) || bytes?.length !== 1 + KEY_BYTES || bytes[0] !== ED25519) return undefined
  const key = { name, key: bytes.subarray(1) }
  return toHex(keyId(key)) === id ? key : undefined
}

const keyId = ({ name, key }: NoteKey): Uint8Array =>
  sha256(concat(utf8(name), Uint8Array.of(0x0a, ED25519), key)).subarray(0, ID_BYTES)

interface NoteSignature {
  readonly name: string
  readonly id: Uint8Array
  readonly signature: Uint8Array
}

function splitNote(
  note: string,
): { readonly text: string; readonly signatures: NoteSignature[] } | undefined {
  const end = note.lastIndexOf('\n\n')
  if (end < 0 || note.length > MAX_NOTE_LENGTH) return undefined
  const text = note.slice(0, end + 1)
  const rest = note.slice(end + 2)
  if (!isText(text) || !isText(rest)) return undefined
  const signatures: NoteSignature[] = []
  for (const line of rest.slice(0, -1).split('\n')) {
    const [, name = '', encoded = ''] = /^— ([^ ]+) ([^ ]+)$/.exec(line) ?? []
    const bytes = fromBase64(encoded)
    if (!isName(name) || bytes === undefined || bytes.length <= ID_BYTES) return undefined
    signatures.push({ name, id: bytes.subarray(0, ID_BYTES), signature: bytes.subarray(ID_BYTES) })
  }
  return signatures.length <= MAX_SIGNATURES ? { text, signatures } : undefined
}

async function verify(key: Uint8Array, signature: Uint8Array, message: Uint8Array): Promise<boolean> {
  if (signature.length !== SIGNATURE_BYTES) return false
  try {
    const imported = await crypto.subtle.importKey('raw', new Uint8Array(key), { name: 'Ed25519' }, false, [
      'verify',
    ])
    return await crypto.subtle.verify('Ed25519', imported, new Uint8Array(signature), new Uint8Array(message))
  } catch {
    return false
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: the specification forbids exactly these
const isText = (text: string): boolean => text.endsWith('\n') && !/[\x00-\x09\x0b-\x1f]/.test(text)
const isName = (name: string): boolean => name !== '' && !/[\s+]/u.test(name)

const toHex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => toHex(a) === toHex(b)
