/**
 * Lets a person or program through whose credential has the role that a route needs, and nobody else: deny by default. The credential is
 * looked up in D1 for each request and kept nowhere: a key that is revoked is refused from the next request on.
 */
import { equalBytes } from '@noble/ciphers/utils.js'
import type { MiddlewareHandler } from 'hono'
import { hashApiToken, isApiKeyToken } from '../../crypto/api-token.ts'
import { utf8 } from '../../crypto/bytes.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import { orRefuse, RefusedError } from '../../protocol/refused-error.ts'
import { includesRole, type Role } from '../../protocol/roles.ts'
import { checkApiKey, findApiKey } from '../api-keys.ts'
import { audit } from '../audit.ts'
import { bearerToken } from '../bearer.ts'
import type { GatewayContext, GatewayEnv } from '../context.ts'
import { isRevoked } from '../leaked-credentials.ts'
import { limitCredential, limitRefusals } from '../rate-limit.ts'

/** The token made with the gateway. No API key can have this name: theirs begin with `key:`. */
const ROOT_ACTOR = 'admin:root'
/** As much of a path as the trail keeps of a refused request; the longest that this API has is some 300. */
const MAX_AUDITED_PATH = 512

interface Credential {
  readonly actor: string
  readonly role: Role
  /** Null for one without an end. */
  readonly expiresAt: number | null
}

/** Sets `actor`, `role` and `credentialExpiresAt`. A route below another `requireRole` names only what it needs beyond that one. */
export function requireRole(needed: Role): MiddlewareHandler<GatewayEnv> {
  return async function requireRole(c, next) {
    if (c.get('role') === undefined) {
      const { actor, role, expiresAt } = await authenticate(c)
      c.set('actor', actor)
      c.set('role', role)
      c.set('credentialExpiresAt', expiresAt)
    }
    const { actor, role } = c.var
    if (!includesRole(role, needed)) {
      await auditDenied(c, actor, 'E_ROLE_DENIED', `it needs ${needed}, and ${actor} is ${role}`)
      throw new RefusedError('E_ROLE_DENIED', `it needs the role ${needed}; this credential has ${role}`)
    }
    await next()
  }
}

async function authenticate(c: GatewayContext): Promise<Credential> {
  const token = bearerToken(c.req.header('authorization'))
  if (token === undefined)
    throw new RefusedError('E_AUTH_REQUIRED', 'send `Authorization: Bearer <API token>`')
  const hash = hashApiToken(token)
  if (equalBytes(utf8(hash), utf8(c.var.config.adminTokenHash))) return authenticateRoot(c, hash)
  const key = isApiKeyToken(token) ? await findApiKey(c.env.DB, hash) : undefined
  if (key === undefined) {
    limitRefusals(c)
    throw new RefusedError('E_AUTH_INVALID')
  }
  // By id: whoever holds a revoked key must not use up the share of the one that has its name now.
  limitCredential(`key:${key.id}`)
  const actor = `key:${key.name}`
  const checked = checkApiKey(key, Date.now())
  if (!checked.ok) {
    limitRefusals(c)
    await auditDenied(c, actor, checked.error.code, `key ${key.id}`)
  }
  const { role, expires_at: expiresAt } = orRefuse(checked)
  return { actor, role, expiresAt }
}

async function authenticateRoot(c: GatewayContext, hash: string): Promise<Credential> {
  if (await isRevoked(c.env.DB, hash)) {
    limitRefusals(c)
    throw new RefusedError('E_AUTH_INVALID')
  }
  limitCredential(ROOT_ACTOR)
  return { actor: ROOT_ACTOR, role: 'admin', expiresAt: null }
}

/** Whoever has a genuine credential and is refused belongs in the trail; what a stranger tries would only fill it. */
const auditDenied = (c: GatewayContext, actor: string, code: ErrorCode, why: string): Promise<unknown> =>
  audit(c, {
    actor,
    action: 'api.request',
    target: `${c.req.method} ${new URL(c.req.url).pathname.slice(0, MAX_AUDITED_PATH)}`,
    outcome: 'denied',
    reason: `${code}: ${why}`,
  })
