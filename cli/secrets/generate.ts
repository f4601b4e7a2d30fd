/** New values, drawn here: so many characters of an alphabet, each as likely as any other. */
import { randomBytes } from '../../crypto/bytes.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'

const DIGITS = '0123456789'
const SMALL = 'abcdefghijklmnopqrstuvwxyz'
const LETTERS = SMALL.toUpperCase() + SMALL

export const ALPHABETS = {
  alphanumeric: LETTERS + DIGITS,
  hex: `${DIGITS}abcdef`,
  base64url: `${LETTERS}${DIGITS}-_`,
  /** All of ASCII that is visible: quote it wherever it goes. */
  printable: String.fromCharCode(...Array.from({ length: 94 }, (_, index) => 0x21 + index)),
} as const

export type Alphabet = keyof typeof ALPHABETS

/** The platform gives no more than 64 KiB. */
const DRAWN_AT_ONCE = 256

export function generateValue(length: number, alphabet: Alphabet): SecretBytes {
  const characters = ALPHABETS[alphabet]
  // A byte above the last whole multiple would make the first characters likelier.
  const bound = 256 - (256 % characters.length)
  const value = new Uint8Array(length)
  for (let filled = 0; filled < length; ) {
    using drawn = SecretBytes.take(randomBytes(DRAWN_AT_ONCE))
    for (const byte of drawn.expose()) {
      if (byte >= bound || filled === length) continue
      value[filled++] = characters.charCodeAt(byte % characters.length)
    }
  }
  return SecretBytes.take(value)
}
