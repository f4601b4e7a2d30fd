/** The rows as they are in the database, read by queries of their own, and compared with the model. */

import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import { fromUtf8 } from '../../../crypto/bytes.ts'
import type { Keyring } from '../../../crypto/keyring.ts'
import { deriveSecretKey, openFrame } from '../../../crypto/secret-frame.ts'
import type { SecretName } from '../../../protocol/ids.ts'
import type { ModelSecret, ModelVersion } from './model.ts'

export interface StoredRow {
  readonly revision: number
  readonly secret: Omit<ModelSecret, 'versions'>
  readonly versions: ReadonlyMap<number, VersionRow>
}

export interface VersionRow extends Omit<ModelVersion, 'value'> {
  readonly frame: Uint8Array | undefined
  readonly sha256: string
  readonly entry: number
}

type Row = Record<string, unknown>

export async function storedNames(db: D1Database): Promise<SecretName[]> {
  const { results } = await db.prepare('SELECT name FROM secrets').all<{ name: SecretName }>()
  return results.map(({ name }) => name)
}

export async function storedRow(db: D1Database, name: SecretName): Promise<StoredRow | undefined> {
  const row = await db.prepare('SELECT * FROM secrets WHERE name = ?').bind(name).first<Row>()
  if (row === null) return undefined
  const { results } = await db.prepare('SELECT * FROM secret_versions WHERE name = ?').bind(name).all<Row>()
  return {
    revision: row['revision'] as number,
    secret: {
      class: row['class'] as ModelSecret['class'],
      version: row['version'] as number,
      policy: JSON.parse(row['policy'] as string),
      settings: {
        maxVersions: row['max_versions'] as number,
        deleteAfterMs: row['delete_after_ms'] as number | null,
        rotateEveryMs: row['rotate_every_ms'] as number | null,
        casRequired: row['cas_required'] === 1,
        custom: JSON.parse(row['custom'] as string),
      },
      purged: row['deleted_at'] !== null,
    },
    versions: new Map(results.map((version) => [version['version'] as number, versionRow(version)])),
  }
}

const versionRow = (row: Row): VersionRow => ({
  key: row['key_version'] as number | null,
  recipients: JSON.parse(row['recipients'] as string),
  deleted: row['deleted_at'] !== null,
  destroyed: row['destroyed_at'] !== null,
  expiresAt: row['expires_at'] as number | null,
  readableUntil: row['readable_until'] as number | null,
  frame: row['frame'] === null ? undefined : new Uint8Array(row['frame'] as number[]),
  sha256: row['sha256'] as string,
  entry: row['entry'] as number,
})

/** The value that a row holds, opened with the key it names. */
export function openedValue(
  keyring: Keyring,
  name: SecretName,
  { frame, key }: VersionRow,
): string | undefined {
  if (frame === undefined) return ''
  if (key === null) return fromUtf8(frame)
  const master = keyring.key(key)
  if (master === undefined) return undefined
  using derived = deriveSecretKey(master, name)
  const opened = openFrame(derived, frame)
  if (!opened.ok) return undefined
  using value = opened.value
  return fromUtf8(value.expose())
}

/** Of frames by where they begin and end: a nonce, and a code over everything between. */
const hashes = new Map<string, string>()

export function frameHash(frame: Uint8Array): string {
  const ends = `${frame.length} ${frame.subarray(0, 24)} ${frame.subarray(-24)}`
  const hash = hashes.get(ends) ?? bytesToHex(sha256(frame))
  if (hashes.size > 1000) hashes.clear()
  hashes.set(ends, hash)
  return hash
}

/**
 * @param slack how long the change was under way: its times lie somewhere in it.
 * @returns where they differ; or the secret with the times that were stored.
 */
export function compare(
  expected: ModelSecret | undefined,
  stored: StoredRow | undefined,
  slack: number,
  value: (row: VersionRow) => string | undefined,
): { readonly differs: string } | { readonly secret: ModelSecret } {
  if (expected === undefined || stored === undefined) return { differs: 'only one of them has it' }
  const { versions: wanted, ...secret } = expected
  if (JSON.stringify(fields(secret)) !== JSON.stringify(fields(stored.secret)))
    return { differs: `${JSON.stringify(secret)} is stored as ${JSON.stringify(stored.secret)}` }
  const numbers = [...wanted.keys()].sort((a, b) => a - b)
  if (String(numbers) !== String([...stored.versions.keys()].sort((a, b) => a - b)))
    return { differs: `versions ${numbers} are stored as ${[...stored.versions.keys()]}` }
  const versions = new Map<number, ModelVersion>()
  for (const number of numbers) {
    const [mine, theirs] = [wanted.get(number), stored.versions.get(number)]
    if (mine === undefined || theirs === undefined) throw new Error('the numbers were the same')
    const same =
      mine.key === theirs.key &&
      mine.deleted === theirs.deleted &&
      mine.destroyed === theirs.destroyed &&
      String(mine.recipients) === String(theirs.recipients) &&
      isWithin(theirs.expiresAt, mine.expiresAt, slack) &&
      isWithin(theirs.readableUntil, mine.readableUntil, slack) &&
      (theirs.frame === undefined) === mine.destroyed &&
      mine.value === value(theirs)
    if (!same) return { differs: `version ${number}: ${JSON.stringify(mine)} is ${JSON.stringify(theirs)}` }
    versions.set(number, { ...mine, expiresAt: theirs.expiresAt, readableUntil: theirs.readableUntil })
  }
  return { secret: { ...expected, versions } }
}

const fields = ({ class: kind, version, policy, settings: s, purged }: StoredRow['secret']) => [
  kind,
  version,
  policy.rules,
  policy.expires,
  s.maxVersions,
  s.deleteAfterMs,
  s.rotateEveryMs,
  s.casRequired,
  s.custom,
  purged,
]

const isWithin = (actual: number | null, earliest: number | null, slack: number): boolean =>
  earliest === null || actual === null
    ? actual === earliest
    : actual >= earliest && actual <= earliest + slack
