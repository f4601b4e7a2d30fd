/** What a file brings: names and values, from `.env` or from JSON. What is wrong with it is told all at once, by line or key, never by value. */
import { fromUtf8, utf8 } from '../../crypto/bytes.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import type { SecretName } from '../../protocol/ids.ts'
import { parseJson } from '../../protocol/json.ts'
import { MAX_SECRET_BYTES } from '../../protocol/limits.ts'
import { parseDotenv } from './dotenv.ts'
import { nameOfKey } from './names.ts'

export interface Imported {
  /** As the file writes it. */
  readonly key: string
  readonly name: SecretName
  /** The name says less than the key did. */
  readonly altered: boolean
  readonly value: SecretBytes
}

export interface ImportedFile {
  readonly secrets: readonly Imported[]
  readonly notes: readonly string[]
}

interface RawEntry {
  readonly path: readonly string[]
  readonly value: Uint8Array
}

interface RawFile {
  readonly entries: readonly RawEntry[]
  readonly problems: string[]
  readonly notes: string[]
}

/** Bytes that are no text, as `export` writes them; no secret's name has a `$`. */
export const BYTES_KEY = '$base64'

export function readImport(
  content: Uint8Array,
  format: 'env' | 'json',
  folder: SecretName | undefined,
): ImportedFile {
  const { entries, problems, notes } = format === 'json' ? readJson(content) : readEnv(content)
  const secrets: Imported[] = []
  const byName = new Map<SecretName, string>()
  for (const { path, value } of entries) {
    const key = path.join('/')
    const named = nameOfKey(folder, path)
    const other = named.ok ? byName.get(named.value.name) : undefined
    if (!named.ok) problems.push(`${JSON.stringify(key)} makes no name for a secret`)
    else if (other !== undefined) problems.push(`${other} and ${key} would both be ${named.value.name}`)
    else if (value.length > MAX_SECRET_BYTES) problems.push(`${key} is larger than a secret may be, 1 MiB`)
    else {
      byName.set(named.value.name, key)
      secrets.push({ key, ...named.value, value: SecretBytes.take(value) })
    }
  }
  if (problems.length > 0) throw unusable(problems)
  return { secrets, notes }
}

function readEnv(content: Uint8Array): RawFile {
  const text = asText(content)
  const { entries, problems, notes } = parseDotenv(text)
  const last = new Map(entries.map((entry) => [entry.key, entry]))
  const again = entries.filter((entry) => last.get(entry.key) !== entry)
  return {
    entries: [...last.values()].map(({ key, value }) => ({ path: [key], value: utf8(value) })),
    problems: problems.map(({ line, message }) => `line ${line} ${message}`),
    notes: [
      ...notes.map(({ line, message }) => `line ${line}: ${message}`),
      ...again.map(({ key, line }) => `line ${line}: ${key} is set again further down, and that counts`),
    ],
  }
}

function readJson(content: Uint8Array): RawFile {
  const parsed = parseJson(content)
  const entries: RawEntry[] = []
  const problems: string[] = []
  const visit = (value: unknown, path: readonly string[]): void => {
    const bytes = bytesOf(value)
    if (bytes !== undefined && path.length > 0) entries.push({ path, value: bytes })
    else if (typeof value === 'object' && value !== null && !Array.isArray(value) && !(BYTES_KEY in value))
      for (const [key, inner] of Object.entries(value)) visit(inner, [...path, key])
    else if (path.length === 0) problems.push('it is not a JSON object of names and values')
    else
      problems.push(`${path.join('/')} is neither a string, {"${BYTES_KEY}": "..."} nor an object of those`)
  }
  visit(parsed, [])
  return { entries, problems, notes: [] }
}

function bytesOf(value: unknown): Uint8Array | undefined {
  if (typeof value === 'string') return utf8(value)
  if (typeof value !== 'object' || value === null || Object.keys(value).length !== 1) return undefined
  const encoded = (value as Record<string, unknown>)[BYTES_KEY]
  if (typeof encoded !== 'string') return undefined
  const bytes = Buffer.from(encoded, 'base64')
  return bytes.toString('base64') === encoded ? new Uint8Array(bytes) : undefined
}

function asText(content: Uint8Array): string {
  try {
    return fromUtf8(content)
  } catch {
    throw unusable(['it is not text in UTF-8'])
  }
}

const unusable = (problems: readonly string[]): UserError =>
  new UserError({
    code: 'E_IMPORT_FILE',
    message: 'nothing is imported: the file has problems',
    why: problems.join('\n       '),
    exitCode: EXIT.usage,
  })
