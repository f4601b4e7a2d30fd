/**
 * Bech32 (BIP 173), in which age writes its keys: base 32 with a checksum that finds up to four mistyped characters. Without BIP 173's limit
 * of 90 characters, which age lifts too.
 */
const ALPHABET = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l'
const CHECKSUM_LENGTH = 6
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3]

/** In lower case. */
export function toBech32(prefix: string, bytes: Uint8Array): string {
  const words = regroup(bytes, 8, 5, true) ?? []
  const sum = polymod([...expand(prefix), ...words, 0, 0, 0, 0, 0, 0]) ^ 1
  const checksum = Array.from({ length: CHECKSUM_LENGTH }, (_, index) => (sum >>> (5 * (5 - index))) & 31)
  return `${prefix}1${[...words, ...checksum].map((word) => ALPHABET[word]).join('')}`
}

/** Undefined unless the text is Bech32 of that prefix, all of it in one case. */
export function fromBech32(prefix: string, text: string): Uint8Array | undefined {
  const lower = text.toLowerCase()
  if (text !== lower && text !== text.toUpperCase()) return undefined
  const separator = lower.lastIndexOf('1')
  if (separator < 1 || lower.slice(0, separator) !== prefix) return undefined
  const words = [...lower.slice(separator + 1)].map((character) => ALPHABET.indexOf(character))
  if (words.length < CHECKSUM_LENGTH || words.includes(-1)) return undefined
  if (polymod([...expand(prefix), ...words]) !== 1) return undefined
  const bytes = regroup(words.slice(0, -CHECKSUM_LENGTH), 5, 8, false)
  return bytes && Uint8Array.from(bytes)
}

/** Undefined if, without padding, bits are left that are not zero or a whole group. */
function regroup(groups: Iterable<number>, from: number, to: number, pad: boolean): number[] | undefined {
  const regrouped: number[] = []
  let bits = 0
  let held = 0
  for (const group of groups) {
    held = ((held << from) | group) & 0xfff
    bits += from
    while (bits >= to) {
      bits -= to
      regrouped.push((held >>> bits) & ((1 << to) - 1))
    }
  }
  const rest = (held << (to - bits)) & ((1 << to) - 1)
  if (pad) return bits === 0 ? regrouped : [...regrouped, rest]
  return bits < from && rest === 0 ? regrouped : undefined
}

function polymod(words: Iterable<number>): number {
  let sum = 1
  for (const word of words) {
    const top = sum >>> 25
    sum = ((sum & 0x1ffffff) << 5) ^ word
    GENERATOR.forEach((generator, bit) => {
      if (((top >>> bit) & 1) === 1) sum ^= generator
    })
  }
  return sum
}

function expand(prefix: string): number[] {
  const codes = [...prefix].map((character) => character.charCodeAt(0))
  return [...codes.map((code) => code >>> 5), 0, ...codes.map((code) => code & 31)]
}
