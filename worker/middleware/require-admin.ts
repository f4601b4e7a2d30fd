/** Lets the administrator's API token through, and nobody else: deny by default. */
import { equalBytes } from '@noble/ciphers/utils.js'
import { createMiddleware } from 'hono/factory'
import { hashApiToken } from '../../crypto/api-token.ts'
import { utf8 } from '../../crypto/bytes.ts'
import { bearerToken } from '../bearer.ts'
import { type GatewayEnv, RefusedError } from '../context.ts'
import { isRevoked } from '../leaked-credentials.ts'
import { limitCredential, limitRefusals } from '../rate-limit.ts'

/** The token made with the gateway; others, with roles, will have names of their own. */
const ROOT_ACTOR = 'admin:root'

export const requireAdmin = createMiddleware<GatewayEnv>(async function requireAdmin(c, next) {
  const token = bearerToken(c.req.header('authorization'))
  if (token === undefined)
    throw new RefusedError('E_AUTH_REQUIRED', 'send `Authorization: Bearer <admin token>`')
  const hash = hashApiToken(token)
  const matches = equalBytes(utf8(hash), utf8(c.var.config.adminTokenHash))
  if (!matches || (await isRevoked(c.env.DB, hash))) {
    limitRefusals(c)
    throw new RefusedError('E_AUTH_INVALID')
  }
  limitCredential(ROOT_ACTOR)
  c.set('actor', ROOT_ACTOR)
  await next()
})
