/** POST /v1/node/identity: a node changes its identity key. The old key signs the request, the new one its own introduction. */
import { Hono } from 'hono'
import { compactVerify, decodeProtectedHeader } from 'jose'
import { fromUtf8 } from '../../crypto/bytes.ts'
import { importIdentityKey } from '../../crypto/identity.ts'
import { isRecent } from '../../durable-objects/proof.ts'
import { IdentityRotateBody, ROTATION_JWT_TYPE, RotationClaims } from '../../protocol/http.ts'
import { IdentityKey } from '../../protocol/ids.ts'
import { SIGNATURE_ALGORITHM } from '../../protocol/proof.ts'
import { audit } from '../audit.ts'
import { parseJson } from '../body.ts'
import { type GatewayEnv, orRefuse, RefusedError } from '../context.ts'
import { requireNode } from '../middleware/require-node.ts'
import { callFleet } from '../objects.ts'

export const nodeIdentityRoutes = new Hono<GatewayEnv>().post('/', requireNode, async (c) => {
  const { request } = parseJson(c.var.body, IdentityRotateBody)
  const { node, config } = c.var
  const introduced = await introducedKey(request)
  if (introduced === undefined) throw new RefusedError('E_ENROL_INVALID', 'the new key did not sign')
  const { key, claims } = introduced
  if (claims.sub !== node.id) throw new RefusedError('E_ENROL_INVALID', 'signed for another node')
  if (!config.origins.has(claims.aud)) throw new RefusedError('E_PROOF_AUDIENCE')
  if (!isRecent(claims.iat, Date.now())) throw new RefusedError('E_PROOF_EXPIRED')
  await audit(c, {
    actor: `node:${node.id}`,
    action: 'node.identity_rotated',
    target: `node:${node.id}`,
    reason: key,
  })
  return c.json({ identity: orRefuse(await callFleet(c, (fleet) => fleet.rotateIdentity(node.id, key))) })
})

async function introducedKey(jws: string): Promise<{ key: IdentityKey; claims: RotationClaims } | undefined> {
  try {
    const { alg, typ, jwk } = decodeProtectedHeader(jws)
    const key = IdentityKey.parse(jwk?.kty === 'OKP' && jwk.crv === 'Ed25519' ? jwk.x : undefined)
    if (alg !== SIGNATURE_ALGORITHM || typ !== ROTATION_JWT_TYPE) return undefined
    const { payload } = await compactVerify(jws, await importIdentityKey(key), {
      algorithms: [SIGNATURE_ALGORITHM],
    })
    return { key, claims: RotationClaims.parse(JSON.parse(fromUtf8(payload))) }
  } catch {
    return undefined
  }
}
