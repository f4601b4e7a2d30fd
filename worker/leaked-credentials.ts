/**
 * A credential that came over plain HTTP has been read by whoever was on the way, and is revoked. Only one that is genuine is looked at
 * further: whoever presents it holds it, so nobody can revoke what is another's.
 */
import { equalBytes } from '@noble/ciphers/utils.js'
import { hashApiToken, isApiKeyToken } from '../crypto/api-token.ts'
import { utf8 } from '../crypto/bytes.ts'
import { claimedNode, proofOf } from '../crypto/request-proof.ts'
import { findApiKey, revokeApiKey } from './api-keys.ts'
import { audit } from './audit.ts'
import { bearerToken } from './bearer.ts'
import type { GatewayContext } from './context.ts'
import { presentToken, revokeToken } from './join-tokens.ts'
import { callShardOf } from './objects.ts'

/** @returns whether there was one. */
export async function revokeLeaked(c: GatewayContext): Promise<boolean> {
  const authorization = c.req.header('authorization')
  const target =
    (await revokeBearer(c, bearerToken(authorization))) ?? (await burnProof(c, proofOf(authorization)))
  if (target === undefined) return false
  console.error({ event: 'credential_leaked', target, requestId: c.var.requestId })
  return true
}

export async function isRevoked(db: D1Database, hash: string): Promise<boolean> {
  return (
    (await db.prepare('SELECT 1 AS one FROM revoked_credentials WHERE hash = ?').bind(hash).first()) !== null
  )
}

async function revokeBearer(c: GatewayContext, token: string | undefined): Promise<string | undefined> {
  if (token === undefined) return undefined
  const hash = hashApiToken(token)
  if (equalBytes(utf8(hash), utf8(c.var.config.adminTokenHash))) {
    await auditLeak(c, 'admin-token')
    const statement =
      'INSERT INTO revoked_credentials (hash, revoked_at) VALUES (?, ?) ON CONFLICT DO NOTHING'
    await c.env.DB.prepare(statement).bind(hash, Date.now()).run()
    return 'admin-token'
  }
  if (isApiKeyToken(token)) return revokeKey(c, hash)
  const join = await presentToken(c.var.config, token)
  if (!join.ok) return undefined
  await auditLeak(c, `token:${join.value.id}`)
  await revokeToken(c.env.DB, join.value.id, Date.now())
  return `token:${join.value.id}`
}

/** Once: what is revoked cannot leak again, and must not fill the trail. */
async function revokeKey(c: GatewayContext, hash: string): Promise<string | undefined> {
  const key = await findApiKey(c.env.DB, hash)
  if (key === undefined) return undefined
  const target = `api-key:${key.name}`
  if (key.revoked_at === null) {
    await auditLeak(c, target)
    await revokeApiKey(c.env.DB, key.id, Date.now())
  }
  return target
}

/** A proof is good for one use: using it up is what revokes it. */
async function burnProof(c: GatewayContext, jwt: string | undefined): Promise<string | undefined> {
  const node = jwt === undefined ? undefined : claimedNode(jwt)
  if (jwt === undefined || node === undefined || !node.ok) return undefined
  if (!(await callShardOf(c, node.value, (shard) => shard.burn(jwt)))) return undefined
  await auditLeak(c, `node:${node.value}`)
  return `node:${node.value}`
}

const auditLeak = (c: GatewayContext, target: string): Promise<unknown> =>
  audit(c, {
    actor: 'gateway',
    action: 'credential.leaked',
    target,
    outcome: 'denied',
    reason: 'it came over plain HTTP',
  })
