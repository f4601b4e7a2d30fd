/** Encodings and comparisons of byte strings. */
import { base64url } from 'jose'

const utf8Encoder = new TextEncoder()
const utf8Decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export const utf8 = (text: string): Uint8Array => utf8Encoder.encode(text)

/** @throws TypeError if the bytes are not UTF-8. */
export const fromUtf8 = (bytes: Uint8Array): string => utf8Decoder.decode(bytes)

export const toBase64Url = (bytes: Uint8Array): string => base64url.encode(bytes)

/** Strict, unlike jose's decoder: no padding, no white space, no stray bits. Undefined if the text is anything else. */
export function fromBase64Url(text: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return undefined
  const bytes = base64url.decode(text)
  return base64url.encode(bytes) === text ? bytes : undefined
}

/** Standard padded base64, the form of WireGuard's tools. */
export const base64UrlToBase64 = (text: string): string =>
  text.replaceAll('-', '+').replaceAll('_', '/') + '='.repeat((4 - (text.length % 4)) % 4)

export const base64ToBase64Url = (text: string): string =>
  text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')

export const toBase64 = (bytes: Uint8Array): string => base64UrlToBase64(toBase64Url(bytes))

/** Strict: padded, and as `fromBase64Url` beside that. */
export function fromBase64(text: string): Uint8Array | undefined {
  const bytes = fromBase64Url(base64ToBase64Url(text))
  return bytes !== undefined && toBase64(bytes) === text ? bytes : undefined
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.length
  }
  return whole
}

const LENGTH_BYTES = 4

/** Each part behind its length, so that no two lists of parts run together into the same bytes. */
export function lengthPrefixed(...parts: readonly string[]): Uint8Array {
  const encoded = parts.map(utf8)
  const whole = new Uint8Array(encoded.reduce((sum, { length }) => sum + LENGTH_BYTES + length, 0))
  const view = new DataView(whole.buffer)
  let offset = 0
  for (const bytes of encoded) {
    view.setUint32(offset, bytes.length)
    whole.set(bytes, offset + LENGTH_BYTES)
    offset += LENGTH_BYTES + bytes.length
  }
  return whole
}

export async function sha256(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', new Uint8Array(bytes)))
}

export const randomBytes = (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length))

/** 128 random bits as 22 characters of base64url: ids of tokens and proofs. */
export const randomId = (): string => toBase64Url(randomBytes(16))
