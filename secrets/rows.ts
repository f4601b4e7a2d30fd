/** The rows of the secrets in D1 (migrations/0004), read. */
import type { NodeId, SecretName } from '../protocol/ids.ts'
import type { StoredPolicy } from '../protocol/secret-policy.ts'
import type { SecretClass, SecretSettings } from '../protocol/secrets.ts'

/** Up to here a frame is read with its row; above, from the cache: D1 sends bytes as JSON, which a small frame does not feel. */
export const INLINE_FRAME_BYTES = 4096

export interface StoredSecret {
  readonly name: SecretName
  readonly revision: number
  readonly class: SecretClass
  /** Newest version. */
  readonly version: number
  readonly policy: StoredPolicy
  readonly settings: SecretSettings
  readonly createdAt: number
  readonly updatedAt: number
  /** Everything of it was removed; the row goes on counting versions. */
  readonly purged: boolean
}

export interface StoredVersion {
  readonly version: number
  /** Null for the sealed class. */
  readonly keyVersion: number | null
  readonly sha256: string | null
  readonly entry: number | null
  readonly createdAt: number
  readonly expiresAt: number | null
  readonly readableUntil: number | null
  readonly deletedAt: number | null
  readonly destroyedAt: number | null
  readonly recipients: readonly NodeId[]
  /** Of the frame; 0 for a destroyed one. */
  readonly bytes: number
  /** The frame itself where it is small: it then comes with the policy, in one round trip and of one moment. */
  readonly frame: Uint8Array | undefined
}

export interface Found {
  readonly secret: StoredSecret
  /** Undefined if the secret has no version of that number. */
  readonly version: StoredVersion | undefined
}

export interface Wanted {
  readonly name: SecretName
  /** The newest, if undefined. */
  readonly version?: number | undefined
}

type Cell = string | number | null | number[] | ArrayBuffer
type Row = Record<string, Cell>

const SECRET = `s.name, s.revision, s.class, s.version AS newest, s.policy, s.max_versions, s.delete_after_ms,
  s.rotate_every_ms, s.cas_required, s.custom, s.created_at AS first_at, s.updated_at, s.deleted_at AS purged_at`
const VERSION = `v.version, v.key_version, v.sha256, v.entry, v.created_at, v.expires_at, v.readable_until, v.deleted_at,
  v.destroyed_at, v.recipients, LENGTH(v.frame) AS bytes`
const FRAME = `CASE WHEN LENGTH(v.frame) <= ${INLINE_FRAME_BYTES} THEN v.frame END AS frame`

/** In the order asked for; undefined where there is no such secret. */
export async function findSecrets(db: D1Database, wanted: readonly Wanted[]): Promise<(Found | undefined)[]> {
  // One parameter for them all: D1 takes no more than 100.
  const { results } = await db
    .prepare(
      `SELECT w.key, ${SECRET}, ${VERSION}, ${FRAME} FROM json_each(?) w
       JOIN secrets s ON s.name = w.value ->> 'name' AND s.deleted_at IS NULL
       LEFT JOIN secret_versions v ON v.name = s.name AND v.version = COALESCE(w.value ->> 'version', s.version)`,
    )
    .bind(JSON.stringify(wanted))
    .all<Row>()
  const byKey = new Map(results.map((row) => [Number(row['key']), foundOf(row)]))
  return wanted.map((_, index) => byKey.get(index))
}

export async function findSecret(
  db: D1Database,
  name: SecretName,
  version?: number,
): Promise<Found | undefined> {
  return (await findSecrets(db, [{ name, version }]))[0]
}

/** Also one of which everything was removed. */
export async function secretRow(db: D1Database, name: SecretName): Promise<StoredSecret | undefined> {
  const row = await db.prepare(`SELECT ${SECRET} FROM secrets s WHERE s.name = ?`).bind(name).first<Row>()
  return row === null ? undefined : secretOf(row)
}

/** Oldest first. */
export async function versionsOf(db: D1Database, name: SecretName): Promise<StoredVersion[]> {
  const { results } = await db
    .prepare(`SELECT ${VERSION} FROM secret_versions v WHERE v.name = ? ORDER BY v.version`)
    .bind(name)
    .all<Row>()
  return results.map(versionOf)
}

/** Versions that are not yet under this key. */
export async function versionsUnderOtherKeys(
  db: D1Database,
  active: number,
  after: { readonly name: string; readonly version: number },
  limit: number,
): Promise<{ name: SecretName; version: number }[]> {
  const { results } = await db
    .prepare(
      `SELECT name, version FROM secret_versions WHERE frame IS NOT NULL AND key_version IS NOT NULL AND key_version <> ?
         AND (name, version) > (?, ?) ORDER BY name, version LIMIT ?`,
    )
    .bind(active, after.name, after.version, limit)
    .all<{ name: SecretName; version: number }>()
  return results
}

/** How many stored versions need each master key. */
export async function keyUsage(db: D1Database): Promise<Map<number, number>> {
  const { results } = await db
    .prepare(
      `SELECT key_version, COUNT(*) AS count FROM secret_versions WHERE frame IS NOT NULL AND key_version IS NOT NULL
       GROUP BY key_version`,
    )
    .all<{ key_version: number; count: number }>()
  return new Map(results.map(({ key_version, count }) => [key_version, count]))
}

/** How many secrets have held their newest value for longer than their owner wants. */
export async function countDue(db: D1Database, now: number): Promise<number> {
  const row = await db
    .prepare(
      `SELECT COUNT(*) AS due FROM secrets s JOIN secret_versions v ON v.name = s.name AND v.version = s.version
       WHERE s.deleted_at IS NULL AND s.rotate_every_ms IS NOT NULL AND v.created_at + s.rotate_every_ms <= ?`,
    )
    .bind(now)
    .first<{ due: number }>()
  return row?.due ?? 0
}

/** In order of name, with the newest version of each; no name has a letter behind `~`; `after` is the last name of the page before. */
export async function listSecrets(
  db: D1Database,
  { prefix, after, limit }: { readonly prefix: string; readonly after: string; readonly limit: number },
): Promise<Found[]> {
  const { results } = await db
    .prepare(
      `SELECT ${SECRET}, ${VERSION} FROM secrets s
       LEFT JOIN secret_versions v ON v.name = s.name AND v.version = s.version
       WHERE s.deleted_at IS NULL AND s.name > ?1 AND s.name >= ?2 AND s.name < ?2 || '~' ORDER BY s.name LIMIT ?3`,
    )
    .bind(after, prefix, limit)
    .all<Row>()
  return results.map(foundOf)
}

/** Every version of every secret, in order of name and number. */
export async function listVersions(
  db: D1Database,
  after: { readonly name: string; readonly version: number },
  limit: number,
): Promise<{ name: SecretName; version: StoredVersion }[]> {
  const { results } = await db
    .prepare(
      `SELECT v.name, ${VERSION} FROM secret_versions v WHERE (v.name, v.version) > (?1, ?2)
       ORDER BY v.name, v.version LIMIT ?3`,
    )
    .bind(after.name, after.version, limit)
    .all<Row>()
  return results.map((row) => ({ name: row['name'] as SecretName, version: versionOf(row) }))
}

const foundOf = (row: Row): Found => ({
  secret: secretOf(row),
  version: row['version'] === null ? undefined : versionOf(row),
})

function secretOf(row: Row): StoredSecret {
  return {
    name: row['name'] as SecretName,
    revision: Number(row['revision']),
    class: row['class'] as SecretClass,
    version: Number(row['newest']),
    policy: JSON.parse(String(row['policy'])) as StoredPolicy,
    settings: {
      maxVersions: Number(row['max_versions']),
      deleteAfterMs: row['delete_after_ms'] as number | null,
      rotateEveryMs: row['rotate_every_ms'] as number | null,
      casRequired: row['cas_required'] === 1,
      custom: JSON.parse(String(row['custom'])) as SecretSettings['custom'],
    },
    createdAt: Number(row['first_at']),
    updatedAt: Number(row['updated_at']),
    purged: row['purged_at'] !== null,
  }
}

function versionOf(row: Row): StoredVersion {
  const frame = row['frame'] ?? null
  return {
    version: Number(row['version']),
    keyVersion: row['key_version'] as number | null,
    sha256: row['sha256'] as string | null,
    entry: row['entry'] as number | null,
    createdAt: Number(row['created_at']),
    expiresAt: row['expires_at'] as number | null,
    readableUntil: row['readable_until'] as number | null,
    deletedAt: row['deleted_at'] as number | null,
    destroyedAt: row['destroyed_at'] as number | null,
    recipients: JSON.parse(String(row['recipients'])) as NodeId[],
    bytes: Number(row['bytes'] ?? 0),
    frame: frame === null ? undefined : new Uint8Array(frame as ArrayBuffer),
  }
}
