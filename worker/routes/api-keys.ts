/**
 * /v1/api-keys: named credentials with a role, and /v1/whoami. Only administrators make keys, so that none can have a role above its
 * maker's; nor can one outlive its maker, or an hour's key would be as good as one without an end.
 */
import { Hono } from 'hono'
import { generateApiToken, hashApiToken } from '../../crypto/api-token.ts'
import { randomId } from '../../crypto/bytes.ts'
import {
  ApiKeyCreateBody,
  ApiKeyCreateReply,
  ApiKeyId,
  ApiKeyList,
  ApiKeyName,
  WhoamiReply,
} from '../../protocol/api-keys.ts'
import { RefusedError } from '../../protocol/refused-error.ts'
import {
  type ApiKey,
  apiKeyByName,
  apiKeyItem,
  listApiKeys,
  placeOf,
  revokeApiKey,
  storeApiKey,
} from '../api-keys.ts'
import { audit } from '../audit.ts'
import { readJson } from '../body.ts'
import type { GatewayEnv } from '../context.ts'
import { requireRole } from '../middleware/require-role.ts'
import { nextCursor, readPage } from '../page.ts'

export const apiKeyRoutes = new Hono<GatewayEnv>()
  .use(requireRole('admin'))
  .post('/', async (c) => {
    const { name, role, ttlMs } = await readJson(c, ApiKeyCreateBody)
    const now = Date.now()
    const key: ApiKey = {
      id: ApiKeyId.parse(randomId()),
      name,
      role,
      created_at: now,
      expires_at: ttlMs === undefined ? null : now + ttlMs,
      revoked_at: null,
      created_by: c.var.actor,
    }
    const entry = {
      actor: c.var.actor,
      action: 'api_key.create',
      target: `api-key:${name}`,
      detail: { id: key.id, role, expires: key.expires_at ?? 'never' },
    }
    const end = c.var.credentialExpiresAt
    if (end !== null && (key.expires_at === null || key.expires_at > end)) {
      await audit(c, { ...entry, outcome: 'denied', reason: 'E_API_KEY_TTL' })
      throw new RefusedError('E_API_KEY_TTL', `this one ends at ${new Date(end).toISOString()}`)
    }
    await audit(c, entry)
    const token = generateApiToken('clawkey')
    if (!(await storeApiKey(c.env.DB, key, hashApiToken(token)))) {
      await audit(c, { ...entry, outcome: 'failed', reason: 'E_API_KEY_NAME_TAKEN' })
      throw new RefusedError('E_API_KEY_NAME_TAKEN')
    }
    return c.json(ApiKeyCreateReply.parse({ token, key: apiKeyItem(key, now) }), 201)
  })
  .get('/', async (c) => {
    const page = readPage(c)
    await audit(c, { actor: c.var.actor, action: 'api_key.list', target: 'api-keys' })
    const keys = await listApiKeys(c.env.DB, page.after, page.limit)
    const now = Date.now()
    const items = keys.map((key) => apiKeyItem(key, now))
    const last = keys.at(-1)
    return c.json(ApiKeyList.parse({ items, ...nextCursor(keys, page, last && placeOf(last)) }))
  })
  .delete('/:name', async (c) => {
    const name = ApiKeyName.safeParse(c.req.param('name'))
    const key = name.success ? await apiKeyByName(c.env.DB, name.data) : undefined
    if (key === undefined) throw new RefusedError('E_API_KEY_NOT_FOUND')
    const { id, role } = key
    await audit(c, {
      actor: c.var.actor,
      action: 'api_key.revoke',
      target: `api-key:${key.name}`,
      detail: { id, role },
    })
    await revokeApiKey(c.env.DB, id, Date.now())
    return c.body(null, 204)
  })

export const whoamiRoutes = new Hono<GatewayEnv>().get('/', requireRole('viewer'), (c) => {
  const { actor, role, credentialExpiresAt: end } = c.var
  return c.json(
    WhoamiReply.parse({ actor, role, expiresAt: end === null ? null : new Date(end).toISOString() }),
  )
})
