/**
 * Secrets at rest. D1 is the truth; KV is a read-through cache of large frames, which never change under one (name, version). Neither ever
 * sees a plaintext byte.
 */
import type { SecretBytes } from '../crypto/secret-bytes.ts'
import { deriveSecretKey, openFrame, sealFrame } from '../crypto/secret-frame.ts'
import type { Config } from '../durable-objects/config.ts'
import type { Env } from '../durable-objects/env.ts'
import { type Refusal, refusal } from '../protocol/errors.ts'
import type { SecretItem } from '../protocol/http.ts'
import { SecretName } from '../protocol/ids.ts'
import { err, type Result } from '../protocol/result.ts'
import { StoredPolicy } from './secret-policy.ts'

type Stores = Pick<Env, 'DB' | 'CIPHERTEXTS'>

/** Up to here a frame is read with its policy; above, from the cache: D1 sends bytes as JSON, which a small frame does not feel. */
const INLINE_FRAME_BYTES = 4096

interface SecretRow {
  readonly name: SecretName
  readonly version: number
  readonly allow_tags: string
  readonly allow_nodes: string
  readonly created_at: number
  readonly updated_at: number
}

/** Newest version of a secret, without its value. */
export interface StoredSecret {
  readonly name: SecretName
  readonly version: number
  readonly keyVersion: number
  readonly policy: StoredPolicy
  /** Of the frame. */
  readonly bytes: number
  /** The frame itself where it is small: it then comes with the policy, in one round trip and of one moment. */
  readonly frame: Uint8Array | undefined
}

/** Seals and stores the next version. @param policy absent keeps the one there is; a new secret then allows nobody. */
export async function putSecret(
  { DB }: Stores,
  { keyring }: Config,
  name: SecretName,
  value: SecretBytes,
  policy: StoredPolicy | undefined,
  now: number,
): Promise<SecretItem> {
  const keyVersion = keyring.active
  const master = keyring.key(keyVersion)
  if (master === undefined) throw new Error('the active master key is not in the keyring')
  using key = deriveSecretKey(master, name)
  const frame = sealFrame(key, value)
  const tags = policy && JSON.stringify(policy.allowTags)
  const nodes = policy && JSON.stringify(policy.allowNodes)
  const [upserted] = await DB.batch<SecretRow>([
    DB.prepare(
      `INSERT INTO secrets (name, version, allow_tags, allow_nodes, created_at, updated_at)
       VALUES (?1, 1, COALESCE(?2, '[]'), COALESCE(?3, '[]'), ?4, ?4)
       ON CONFLICT (name) DO UPDATE SET version = version + 1, updated_at = ?4, deleted_at = NULL,
         allow_tags = COALESCE(?2, CASE WHEN deleted_at IS NULL THEN allow_tags ELSE '[]' END),
         allow_nodes = COALESCE(?3, CASE WHEN deleted_at IS NULL THEN allow_nodes ELSE '[]' END),
         created_at = CASE WHEN deleted_at IS NULL THEN created_at ELSE ?4 END
       RETURNING *`,
    ).bind(name, tags ?? null, nodes ?? null, now),
    DB.prepare(
      `INSERT INTO secret_versions (name, version, key_version, frame, created_at)
       SELECT name, version, ?2, ?3, ?4 FROM secrets WHERE name = ?1`,
    ).bind(name, keyVersion, frame, now),
  ])
  const row = upserted?.results[0]
  if (row === undefined) throw new Error('a stored secret has no row')
  return itemOf(row)
}

/** What is known of these secrets; one that does not exist is not in the answer. */
export async function findSecrets({ DB }: Stores, names: readonly SecretName[]): Promise<StoredSecret[]> {
  const { results } = await DB.prepare(
    `SELECT s.name, s.version, s.allow_tags, s.allow_nodes, v.key_version, LENGTH(v.frame) AS bytes,
       CASE WHEN LENGTH(v.frame) <= ${INLINE_FRAME_BYTES} THEN v.frame END AS frame FROM secrets s
     JOIN secret_versions v ON v.name = s.name AND v.version = s.version
     WHERE s.deleted_at IS NULL AND s.name IN (${names.map(() => '?').join(', ')})`,
  )
    .bind(...names)
    .all<SecretRow & { key_version: number; bytes: number; frame: number[] | ArrayBuffer | null }>()
  return results.map((row) => ({
    name: row.name,
    version: row.version,
    keyVersion: row.key_version,
    policy: policyOf(row),
    bytes: row.bytes,
    frame: row.frame === null ? undefined : new Uint8Array(row.frame),
  }))
}

/** The value. @param later runs work after the answer, such as filling the cache. */
export async function openSecret(
  stores: Stores,
  { keyring }: Config,
  secret: StoredSecret,
  later: (work: Promise<unknown>) => void,
): Promise<Result<SecretBytes, Refusal>> {
  const master = keyring.key(secret.keyVersion)
  const frame = secret.frame ?? (await readFrame(stores, secret, later))
  // Deleted since its policy was read.
  if (frame === undefined) return err(refusal('E_SECRET_NOT_FOUND'))
  if (master === undefined) return err(refusal('E_SECRET_CORRUPT'))
  using key = deriveSecretKey(master, secret.name)
  const opened = openFrame(key, frame)
  return opened.ok ? opened : err(refusal('E_SECRET_CORRUPT'))
}

/** In order of name; `after` is the last name of the page before. */
export async function listSecrets({ DB }: Stores, after: string, limit: number): Promise<SecretItem[]> {
  const { results } = await DB.prepare(
    'SELECT * FROM secrets WHERE deleted_at IS NULL AND name > ? ORDER BY name LIMIT ?',
  )
    .bind(after, limit)
    .all<SecretRow>()
  return results.map(itemOf)
}

/** Deletes every version, in the cache, too. False if there was no such secret. */
export async function deleteSecret(
  { DB, CIPHERTEXTS }: Stores,
  name: SecretName,
  now: number,
): Promise<boolean> {
  const [versions, deleted] = await DB.batch<{ version: number }>([
    DB.prepare('DELETE FROM secret_versions WHERE name = ? RETURNING version').bind(name),
    DB.prepare('UPDATE secrets SET deleted_at = ? WHERE name = ? AND deleted_at IS NULL').bind(now, name),
  ])
  await Promise.all(
    (versions?.results ?? []).map(({ version }) => CIPHERTEXTS.delete(cacheKey({ name, version }))),
  )
  return (deleted?.meta.changes ?? 0) > 0
}

async function readFrame(
  { DB, CIPHERTEXTS }: Stores,
  secret: StoredSecret,
  later: (work: Promise<unknown>) => void,
): Promise<Uint8Array | undefined> {
  const cached = await CIPHERTEXTS.get(cacheKey(secret), 'arrayBuffer')
  if (cached !== null) return new Uint8Array(cached)
  const row = await DB.prepare('SELECT frame FROM secret_versions WHERE name = ? AND version = ?')
    .bind(secret.name, secret.version)
    .first<{ frame: number[] | ArrayBuffer }>()
  if (row === null) return undefined
  const frame = new Uint8Array(row.frame)
  later(CIPHERTEXTS.put(cacheKey(secret), frame))
  return frame
}

const cacheKey = ({ name, version }: Pick<StoredSecret, 'name' | 'version'>): string =>
  `frame:v1:${name}:${version}`

const policyOf = (row: Pick<SecretRow, 'allow_tags' | 'allow_nodes'>): StoredPolicy =>
  StoredPolicy.parse({ allowTags: JSON.parse(row.allow_tags), allowNodes: JSON.parse(row.allow_nodes) })

function itemOf(row: SecretRow): SecretItem {
  const { allowTags, allowNodes } = policyOf(row)
  return {
    name: SecretName.parse(row.name),
    version: row.version,
    allowTags,
    allowNodes: allowNodes.map(({ name }) => name),
    createdAt: new Date(row.created_at).toISOString(),
    updatedAt: new Date(row.updated_at).toISOString(),
  }
}
