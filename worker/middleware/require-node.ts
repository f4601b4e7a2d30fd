/** Lets a node through whose proof its shard has verified. Reads the body, because the proof covers it. */
import type { MiddlewareHandler } from 'hono'
import { bodyHash } from '../../crypto/identity.ts'
import { claimedNode, proofOf } from '../../crypto/request-proof.ts'
import type { ProofUse } from '../../durable-objects/node-authenticator.ts'
import { orRefuse, RefusedError } from '../../protocol/refused-error.ts'
import { readBytes } from '../body.ts'
import type { GatewayEnv } from '../context.ts'
import { callShardOf } from '../objects.ts'
import { limitCredential, limitRefusals } from '../rate-limit.ts'

/** A second try would find its own proof used. */
const USED_UP_AT_ONCE = { tries: 1 }

const requireProof = (use: ProofUse): MiddlewareHandler<GatewayEnv> =>
  async function requireNode(c, next) {
    const jwt = proofOf(c.req.header('authorization'))
    if (jwt === undefined) throw new RefusedError('E_AUTH_REQUIRED', 'send `Authorization: Claw <proof>`')
    const claimed = orRefuse(claimedNode(jwt))
    const body = await readBytes(c)
    const { pathname, search } = new URL(c.req.url)
    const request = { method: c.req.method, path: pathname + search, bodyHash: await bodyHash(body) }
    const authenticated = await callShardOf(
      c,
      claimed,
      (shard) => shard.authenticate(jwt, request, use),
      USED_UP_AT_ONCE,
    )
    if (!authenticated.ok) limitRefusals(c)
    const { node, proof } = orRefuse(authenticated)
    limitCredential(node.id)
    c.set('node', node)
    c.set('proof', proof)
    c.set('body', body)
    await next()
  }

export const requireNode = requireProof('once')
/** For what appends before it does anything, by `provenStores`: that uses the proof up. */
export const requireRecordedNode = requireProof('recorded')
/** For what a node may read again and again: its proof costs no row. */
export const requireReadingNode = requireProof('read')
