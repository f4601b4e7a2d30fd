/** POST /v1/enrol: a join token introduces a key, the key proves itself, and a node exists. */
import { Hono } from 'hono'
import * as z from 'zod'
import { utf8 } from '../../crypto/bytes.ts'
import { enrolmentTranscript, signAsGateway } from '../../crypto/gateway-proof.ts'
import { bodyHash, tokenHash } from '../../crypto/identity.ts'
import { nodeIdOf } from '../../crypto/node-id.ts'
import { isRecent } from '../../crypto/request-proof.ts'
import { isSafeX25519 } from '../../crypto/x25519.ts'
import type { Enrolment } from '../../durable-objects/node-enrolment.ts'
import { ENROL_JWT_TYPE, EnrolBody, EnrolClaims, type EnrolReply } from '../../protocol/http.ts'
import type { IdentityKey } from '../../protocol/ids.ts'
import { nodeKeyDetail } from '../../protocol/node-key-entry.ts'
import { RefusedError } from '../../protocol/refused-error.ts'
import { audit } from '../audit.ts'
import { bearerToken } from '../bearer.ts'
import { readJson } from '../body.ts'
import type { GatewayContext, GatewayEnv } from '../context.ts'
import { readIntroduction } from '../introduction.ts'
import { acceptToken, presentToken, redeemToken } from '../join-tokens.ts'
import { callFleet } from '../objects.ts'
import { limitRefusals } from '../rate-limit.ts'

export const enrolRoutes = new Hono<GatewayEnv>().post('/', async (c) => {
  const token = bearerToken(c.req.header('authorization'))
  if (token === undefined)
    throw new RefusedError('E_AUTH_REQUIRED', 'send `Authorization: Bearer <join token>`')
  const { request } = await readJson(c, EnrolBody)
  const presented = await presentToken(c.var.config, token)
  if (!presented.ok) {
    limitRefusals(c)
    await audit(c, {
      actor: 'anonymous',
      action: 'node.enrol',
      target: '',
      outcome: 'denied',
      reason: presented.error.code,
    })
    throw new RefusedError(presented.error.code)
  }
  const { identity, claims } = await verifyRequest(c, request, token)
  if (!(await isSafeX25519(claims.wg)) || !(await isSafeX25519(claims.seal))) {
    throw new RefusedError('E_ENROL_INVALID', 'a key is of low order')
  }
  const existing = await callFleet(c, (fleet) => fleet.nodeOfKey(identity))
  const id = existing?.id ?? (await nodeIdOf(identity))
  const entry = { actor: `token:${presented.value.id}`, action: 'node.enrol', target: `node:${id}` }
  if (existing?.removed) {
    await audit(c, { ...entry, outcome: 'denied', reason: 'E_NODE_REMOVED' })
    throw new RefusedError('E_NODE_REMOVED')
  }
  const tags =
    existing === undefined
      ? await redeemToken(c.env.DB, presented.value, id, Date.now())
      : await acceptToken(c.env.DB, presented.value)
  if (!tags.ok) {
    await audit(c, { ...entry, outcome: 'denied', reason: tags.error.code })
    throw new RefusedError(tags.error.code)
  }
  const keys = { id, identity, sealing: claims.seal, wireguard: claims.wg }
  const { first } = await audit(c, {
    ...entry,
    reason: existing === undefined ? `name ${claims.name}` : 'enrolled before',
    detail: nodeKeyDetail(keys, claims.name),
  })
  const enrolment: Enrolment = {
    name: claims.name,
    identity,
    wg: claims.wg,
    seal: claims.seal,
    agent: claims.agent,
    tags: tags.value,
    entry: first,
  }
  const enrolled = await callFleet(c, (fleet) => fleet.enrol(enrolment))
  if (!enrolled.ok) {
    await audit(c, { ...entry, outcome: 'denied', reason: enrolled.error.code, detail: { of: first } })
    throw new RefusedError(enrolled.error.code, enrolled.error.detail)
  }
  const answer = enrolled.value
  const transcript = enrolmentTranscript(await bodyHash(utf8(request)), answer)
  const reply: EnrolReply = { ...answer, gateway: await signAsGateway(c.var.config.signing, transcript) }
  return c.json(reply)
})

const Times = z.object({ aud: z.string(), iat: z.int(), exp: z.int() })

/** Proof of possession: the request is signed by the very key it introduces, for this gateway, this token and this minute. */
async function verifyRequest(
  c: GatewayContext,
  jws: string,
  token: string,
): Promise<{ identity: IdentityKey; claims: EnrolClaims }> {
  const introduction = await readIntroduction(jws, ENROL_JWT_TYPE)
  if (introduction === undefined) throw new RefusedError('E_ENROL_INVALID', 'the signature does not hold')
  const claims = EnrolClaims.safeParse(introduction.payload)
  const times = Times.safeParse(introduction.payload)
  if (!claims.success || !times.success)
    throw new RefusedError('E_ENROL_INVALID', 'a claim is missing or wrong')
  if (!c.var.config.origins.has(times.data.aud)) throw new RefusedError('E_PROOF_AUDIENCE')
  if (claims.data.token !== (await tokenHash(token)))
    throw new RefusedError('E_ENROL_INVALID', 'signed for another join token')
  if (!isRecent(times.data.iat, Date.now())) throw new RefusedError('E_PROOF_EXPIRED')
  return { identity: introduction.key, claims: claims.data }
}
