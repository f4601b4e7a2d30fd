/** Bodies of /v1/api-keys and /v1/whoami: named credentials of people and programs, each with one role. Times are RFC 3339 in UTC. */
import * as z from 'zod'
import { MAX_API_KEY_TTL_MS } from './limits.ts'
import { Role } from './roles.ts'

const Time = z.iso.datetime()

export const ApiKeyId = z
  .string()
  .regex(/^[A-Za-z0-9_-]{22}$/)
  .brand<'ApiKeyId'>()
export type ApiKeyId = z.infer<typeof ApiKeyId>

export const ApiKeyName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$/, 'an API key name is 1 to 63 of a-z 0-9 . _ -')
  .brand<'ApiKeyName'>()
export type ApiKeyName = z.infer<typeof ApiKeyName>

/** POST /v1/api-keys. Without `ttlMs` the key is good until it is revoked. */
export const ApiKeyCreateBody = z.strictObject({
  name: ApiKeyName,
  role: Role,
  ttlMs: z.int().min(1_000).max(MAX_API_KEY_TTL_MS).optional(),
})
export type ApiKeyCreateBody = z.input<typeof ApiKeyCreateBody>

const ApiKeyStatus = z.enum(['valid', 'expired', 'revoked'])
export const ApiKeyItem = z.object({
  id: ApiKeyId,
  name: ApiKeyName,
  role: Role,
  status: ApiKeyStatus,
  createdAt: Time,
  /** Null for a key without an end. */
  expiresAt: Time.nullable(),
  revokedAt: Time.nullable(),
  /** The actor that made it, as the audit trail names it. */
  createdBy: z.string(),
})
export type ApiKeyItem = z.infer<typeof ApiKeyItem>

/** The one time that the token is told. */
export const ApiKeyCreateReply = z.object({ token: z.string(), key: ApiKeyItem })
/** GET /v1/api-keys */
export const ApiKeyList = z.object({ items: z.array(ApiKeyItem), next: z.string().optional() })

/** GET /v1/whoami */
export const WhoamiReply = z.object({ actor: z.string(), role: Role, expiresAt: Time.nullable() })
export type WhoamiReply = z.infer<typeof WhoamiReply>
