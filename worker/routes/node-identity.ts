/** POST /v1/node/identity: a node changes its identity key. The old key signs the request, the new one its own introduction. */
import { Hono } from 'hono'
import { isRecent } from '../../crypto/request-proof.ts'
import { IdentityRotateBody, ROTATION_JWT_TYPE, RotationClaims } from '../../protocol/http.ts'
import { nodeKeyDetail } from '../../protocol/node-key-entry.ts'
import { orRefuse, RefusedError } from '../../protocol/refused-error.ts'
import { audit } from '../audit.ts'
import { parseJson } from '../body.ts'
import type { GatewayEnv } from '../context.ts'
import { readIntroduction } from '../introduction.ts'
import { requireNode } from '../middleware/require-node.ts'
import { callFleet } from '../objects.ts'

export const nodeIdentityRoutes = new Hono<GatewayEnv>().post('/', requireNode, async (c) => {
  const { request } = parseJson(c.var.body, IdentityRotateBody)
  const { node, config } = c.var
  const introduction = await readIntroduction(request, ROTATION_JWT_TYPE)
  const parsed = RotationClaims.safeParse(introduction?.payload)
  if (introduction === undefined || !parsed.success)
    throw new RefusedError('E_ENROL_INVALID', 'the new key did not sign')
  const { key } = introduction
  const claims = parsed.data
  if (claims.sub !== node.id) throw new RefusedError('E_ENROL_INVALID', 'signed for another node')
  if (!config.origins.has(claims.aud)) throw new RefusedError('E_PROOF_AUDIENCE')
  if (!isRecent(claims.iat, Date.now())) throw new RefusedError('E_PROOF_EXPIRED')
  const entry = { actor: `node:${node.id}`, action: 'node.identity_rotated', target: `node:${node.id}` }
  const { first } = await audit(c, {
    ...entry,
    reason: key,
    detail: nodeKeyDetail({ id: node.id, identity: key, sealing: node.seal, wireguard: node.wg }, node.name),
  })
  const rotated = await callFleet(c, (fleet) => fleet.rotateIdentity(node.id, key, first))
  if (!rotated.ok)
    await audit(c, { ...entry, outcome: 'failed', reason: rotated.error.code, detail: { of: first } })
  return c.json({ identity: orRefuse(rotated) })
})
