/** What a template may do with a value. Undefined for one that it does not take. */
import { fromUtf8, utf8 } from '../../crypto/bytes.ts'

export type Filter = (value: Uint8Array) => Uint8Array | undefined

export const FILTERS: Readonly<Record<string, Filter>> = {
  /** Without white space at its ends. */
  trim: (value) => onText(value, (text) => text.trim()),
  /** A JSON string, with its quotes. */
  json: (value) => onText(value, (text) => JSON.stringify(text)),
  /** One word of a POSIX shell. */
  shell: (value) => (value.includes(0) ? undefined : onText(value, quoteForShell)),
  /** A part of a URL. */
  url: (value) => onText(value, encodeURIComponent),
  base64: (value) => utf8(Buffer.from(value).toString('base64')),
  b64dec: (value) => onText(value, fromBase64),
}

function onText(
  value: Uint8Array,
  change: (text: string) => string | Uint8Array | undefined,
): Uint8Array | undefined {
  let text: string
  try {
    text = fromUtf8(value)
  } catch {
    return undefined
  }
  const changed = change(text)
  return typeof changed === 'string' ? utf8(changed) : changed
}

const quoteForShell = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

/** Padded or not, with line ends where a tool has put them. */
function fromBase64(text: string): Uint8Array | undefined {
  const joined = text.replace(/[\r\n]/g, '').replace(/=+$/, '')
  if (!/^[A-Za-z0-9+/]*$/.test(joined) || joined.length % 4 === 1) return undefined
  return Buffer.from(joined, 'base64')
}
