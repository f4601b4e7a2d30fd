/** Lets the administrator's API token through, and nobody else: deny by default. */
import { equalBytes } from '@noble/ciphers/utils.js'
import { createMiddleware } from 'hono/factory'
import { hashApiToken } from '../../crypto/api-token.ts'
import { utf8 } from '../../crypto/bytes.ts'
import { type GatewayEnv, RefusedError } from '../context.ts'

/** The token made with the gateway; others, with roles, will have names of their own. */
const ROOT_ACTOR = 'admin:root'

export const requireAdmin = createMiddleware<GatewayEnv>(async function requireAdmin(c, next) {
  const token = bearerToken(c.req.header('authorization'))
  if (token === undefined)
    throw new RefusedError('E_AUTH_REQUIRED', 'send `Authorization: Bearer <admin token>`')
  const matches = equalBytes(utf8(hashApiToken(token)), utf8(c.var.config.adminTokenHash))
  if (!matches) throw new RefusedError('E_AUTH_INVALID')
  c.set('actor', ROOT_ACTOR)
  await next()
})

export function bearerToken(authorization: string | undefined): string | undefined {
  const [scheme, token, ...rest] = (authorization ?? '').split(' ')
  return scheme === 'Bearer' && token && rest.length === 0 ? token : undefined
}
