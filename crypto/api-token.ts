/** API tokens of people and programs: `claw_` and 32 characters (190 bits). Only their BLAKE3 hash is ever stored. */
import { blake3 } from '@noble/hashes/blake3.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import { utf8 } from './bytes.ts'

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const LENGTH = 32
/** Bytes from here up are drawn again: 256 is no multiple of 62, and a remainder would favour the first letters. */
const UNBIASED = 248

export function generateApiToken(): string {
  let token = 'claw_'
  while (token.length < 'claw_'.length + LENGTH) {
    for (const byte of crypto.getRandomValues(new Uint8Array(LENGTH))) {
      if (byte < UNBIASED && token.length < 'claw_'.length + LENGTH) token += ALPHABET[byte % ALPHABET.length]
    }
  }
  return token
}

export const hashApiToken = (token: string): string => bytesToHex(blake3(utf8(token)))
