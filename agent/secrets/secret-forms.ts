/**
 * The forms in which a program may print a secret: as it is, and as base64, hexadecimal, URL and JSON write it. A net under accidents; a
 * program that wants to show a secret always finds another form.
 */
import { utf8 } from '../../crypto/bytes.ts'

/** Fewer bytes occur everywhere by chance, and where they are hidden one could count them out. */
const SHORTEST_HIDDEN_BYTES = 4
/** Of a longer value only the bytes themselves are looked for: each form takes memory of some twenty times its length. */
const LONGEST_ENCODED_BYTES = 8 * 1024
/** What is left of a base64 text, once the characters are gone that its neighbours have a part in, says nothing below this. */
const SHORTEST_INNER_CHARACTERS = 8
/** Of `base64` and of `openssl base64`. */
const LINE_LENGTHS = [76, 64]

/** Empty for a value that is too short to be hidden. */
export function formsOf(value: Uint8Array): Uint8Array[] {
  const trimmed = withoutLineEnd(value)
  if (trimmed.length < SHORTEST_HIDDEN_BYTES) return []
  const bytes = trimmed.length === value.length ? [value] : [value, trimmed]
  const texts = value.length > LONGEST_ENCODED_BYTES ? [] : bytes.flatMap(encodings)
  return [...bytes, ...[...new Set(texts)].map(utf8)]
}

const encodings = (value: Uint8Array): string[] => [
  ...base64(value),
  ...hex(value),
  ...url(value),
  ...json(value),
]

/** A shell's `$(...)` and most readers of a line take it away. */
function withoutLineEnd(value: Uint8Array): Uint8Array {
  let end = value.length
  while (end > 0 && (value[end - 1] === 0x0a || value[end - 1] === 0x0d)) end--
  return value.subarray(0, end)
}

function base64(value: Uint8Array): string[] {
  const standard = [0, 1, 2].flatMap((offset) => base64At(value, offset))
  return standard.flatMap((text) => [text, text.replaceAll('+', '-').replaceAll('/', '_')])
}

/** @param offset how many bytes of something else come before it in its first group of three. */
function base64At(value: Uint8Array, offset: number): string[] {
  const whole = Buffer.concat([Buffer.alloc(offset), value]).toString('base64')
  const unpadded = whole.replace(/=+$/, '')
  const inner = unpadded.slice(
    offset === 0 ? 0 : offset + 1,
    (offset + value.length) % 3 === 0 ? undefined : -1,
  )
  if (offset > 0) return inner.length < SHORTEST_INNER_CHARACTERS ? [] : [inner]
  return [whole, unpadded, inner].flatMap((text) => [
    text,
    ...LINE_LENGTHS.map((length) => wrap(text, length)),
  ])
}

const wrap = (text: string, length: number): string =>
  text.replace(new RegExp(`.{${length}}(?=.)`, 'g'), '$&\n')

function hex(value: Uint8Array): string[] {
  const text = Buffer.from(value).toString('hex')
  return [text, text.toUpperCase()]
}

/** As `encodeURIComponent` does, as RFC 3986 has it, and as forms do; digits in either case. */
function url(value: Uint8Array): string[] {
  const escaped = (kept: RegExp) =>
    Array.from(value, (byte) => {
      const character = String.fromCharCode(byte)
      return kept.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
    }).join('')
  const texts = [
    escaped(/[A-Za-z0-9_.!~*'()-]/),
    escaped(/[A-Za-z0-9_.~-]/),
    escaped(/[A-Za-z0-9_.*-]/).replaceAll('%20', '+'),
  ]
  return texts.flatMap((text) => [text, text.replace(/%../g, (digits) => digits.toLowerCase())])
}

function json(value: Uint8Array): string[] {
  const text = Buffer.from(value)
  // What is not UTF-8 is not in JSON.
  if (!text.equals(Buffer.from(text.toString('utf8')))) return []
  const escaped = JSON.stringify(text.toString('utf8')).slice(1, -1)
  return [escaped, escaped.replaceAll('/', '\\/')]
}
