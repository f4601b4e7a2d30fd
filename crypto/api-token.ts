/**
 * API tokens of people and programs, in a form that secret scanners find: a prefix that says what it opens, 32 letters (190 bits), and the
 * CRC-32 of those letters as six more, so that a look-alike in a file is no false alarm. Only the BLAKE3 hash of a token is ever stored.
 */
import { blake3 } from '@noble/hashes/blake3.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import { utf8 } from './bytes.ts'
import { crc32 } from './crc32.ts'

/** `claw`: the root token, made with the gateway. `clawkey`: an API key. */
type TokenPrefix = 'claw' | 'clawkey'

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const LENGTH = 32
/** 62^6 is more than 2^32. */
const CHECKSUM_LENGTH = 6
/** Bytes from here up are drawn again: 256 is no multiple of 62, and a remainder would favour the first letters. */
const UNBIASED = 248
const API_KEY = /^clawkey_([0-9A-Za-z]{32})([0-9A-Za-z]{6})$/

export function generateApiToken(prefix: TokenPrefix): string {
  let letters = ''
  while (letters.length < LENGTH) {
    for (const byte of crypto.getRandomValues(new Uint8Array(LENGTH))) {
      if (byte < UNBIASED && letters.length < LENGTH) letters += ALPHABET[byte % ALPHABET.length]
    }
  }
  return `${prefix}_${letters}${checksum(letters)}`
}

/** Whether it can be an API key at all: saves looking for what was mistyped, or is another's token. */
export function isApiKeyToken(text: string): boolean {
  const [, letters, sum] = API_KEY.exec(text) ?? []
  return letters !== undefined && sum === checksum(letters)
}

export const hashApiToken = (token: string): string => bytesToHex(blake3(utf8(token)))

function checksum(letters: string): string {
  let digits = ''
  for (let rest = crc32(utf8(letters)); digits.length < CHECKSUM_LENGTH; rest = Math.floor(rest / 62)) {
    digits = ALPHABET.charAt(rest % 62) + digits
  }
  return digits
}
