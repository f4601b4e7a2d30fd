/** API keys, as D1 keeps them: a name, a role, a hash, and when it ends. */
import * as z from 'zod'
import { ApiKeyId, type ApiKeyItem, ApiKeyName } from '../protocol/api-keys.ts'
import { type Refusal, refusal } from '../protocol/errors.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { Role } from '../protocol/roles.ts'

/** Parsed, because a role that this code does not know must not pass for one that it does. */
const ApiKeyRow = z.object({
  id: ApiKeyId,
  name: ApiKeyName,
  role: Role,
  created_at: z.number(),
  expires_at: z.number().nullable(),
  revoked_at: z.number().nullable(),
  created_by: z.string(),
})
export type ApiKey = z.infer<typeof ApiKeyRow>

const COLUMNS = 'id, name, role, created_at, expires_at, revoked_at, created_by'

/** Whatever became of it: that is {@link checkApiKey}'s to say. */
export async function findApiKey(db: D1Database, hash: string): Promise<ApiKey | undefined> {
  const row = await db.prepare(`SELECT ${COLUMNS} FROM api_keys WHERE hash = ?`).bind(hash).first()
  return row === null ? undefined : ApiKeyRow.parse(row)
}

export function checkApiKey(key: ApiKey, now: number): Result<ApiKey, Refusal> {
  const status = statusOf(key, now)
  if (status === 'valid') return ok(key)
  return err(refusal(status === 'revoked' ? 'E_AUTH_REVOKED' : 'E_AUTH_EXPIRED'))
}

/** False if another key has that name. One that has expired gives it up. */
export async function storeApiKey(db: D1Database, key: ApiKey, hash: string): Promise<boolean> {
  const [, stored] = await db.batch([
    db
      .prepare(
        'UPDATE api_keys SET revoked_at = ?2 WHERE name = ?1 AND revoked_at IS NULL AND expires_at <= ?2',
      )
      .bind(key.name, key.created_at),
    db
      .prepare(
        `INSERT INTO api_keys (id, name, role, hash, created_at, expires_at, created_by)
         VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING`,
      )
      .bind(key.id, key.name, key.role, hash, key.created_at, key.expires_at, key.created_by),
  ])
  return stored?.meta.changes === 1
}

/** By name, then id; `after` is the place of the last key of the page before. */
export async function listApiKeys(db: D1Database, after: string, limit: number): Promise<ApiKey[]> {
  const [name = '', id = ''] = after.split(':')
  const { results } = await db
    .prepare(`SELECT ${COLUMNS} FROM api_keys WHERE (name, id) > (?, ?) ORDER BY name, id LIMIT ?`)
    .bind(name, id, limit)
    .all()
  return results.map((row) => ApiKeyRow.parse(row))
}

/** No name holds a colon. */
export const placeOf = ({ name, id }: ApiKey): string => `${name}:${id}`

/** The key that has the name now. */
export async function apiKeyByName(db: D1Database, name: ApiKeyName): Promise<ApiKey | undefined> {
  const statement = `SELECT ${COLUMNS} FROM api_keys WHERE name = ? AND revoked_at IS NULL`
  const row = await db.prepare(statement).bind(name).first()
  return row === null ? undefined : ApiKeyRow.parse(row)
}

/** Revoking twice is fine; the first time counts. */
export async function revokeApiKey(db: D1Database, id: ApiKeyId, now: number): Promise<void> {
  await db
    .prepare('UPDATE api_keys SET revoked_at = COALESCE(revoked_at, ?) WHERE id = ?')
    .bind(now, id)
    .run()
}

export const apiKeyItem = (key: ApiKey, now: number): ApiKeyItem => ({
  id: key.id,
  name: key.name,
  role: key.role,
  status: statusOf(key, now),
  createdAt: new Date(key.created_at).toISOString(),
  expiresAt: timeOrNull(key.expires_at),
  revokedAt: timeOrNull(key.revoked_at),
  createdBy: key.created_by,
})

/** One that was revoked after its end had expired. */
function statusOf({ expires_at, revoked_at }: ApiKey, now: number): ApiKeyItem['status'] {
  if (expires_at !== null && expires_at <= (revoked_at ?? now)) return 'expired'
  return revoked_at === null ? 'valid' : 'revoked'
}

const timeOrNull = (time: number | null): string | null =>
  time === null ? null : new Date(time).toISOString()
