/** Enrolment: a join token introduces the node's keys to the gateway, once. Doing it again gives the same node. */
import * as z from 'zod'
import { utf8 } from '../crypto/bytes.ts'
import { enrolmentTranscript, verifyGateway } from '../crypto/gateway-proof.ts'
import { bodyHash, tokenHash } from '../crypto/identity.ts'
import type { GatewayConnection } from '../host/gateway-connection.ts'
import { EnrolReply } from '../protocol/http.ts'
import type { GatewayKey, NodeName } from '../protocol/ids.ts'
import { parseAnswer, sendSigned } from './gateway-answer.ts'
import type { GatewayClock } from './gateway-clock.ts'
import { wrongGatewayKey } from './gateway-keys.ts'
import type { JoinToken } from './join-token.ts'
import type { NodeKeys } from './node-keys.ts'
import { AGENT_VERSION } from './version.ts'

interface Enrolment {
  readonly connection: GatewayConnection
  readonly token: JoinToken
  readonly keys: NodeKeys
  readonly name: NodeName
  readonly clock: GatewayClock
}

export interface Enrolled {
  readonly node: Omit<EnrolReply, 'gateway'>
  /** By which the gateway is known from now on. */
  readonly gatewayKeys: readonly GatewayKey[]
}

const PATH = '/v1/enrol'
/** With what a newer gateway may add: its signature covers the whole answer. */
const SignedReply = z.looseObject(EnrolReply.shape)

/** @throws UserError if the gateway refuses, or if whoever answers is not the gateway that the token names. */
export async function enrol({ connection, token, keys, name, clock }: Enrolment): Promise<Enrolled> {
  const claims = {
    name,
    wg: keys.wireguard.publicKey,
    seal: keys.sealing.publicKey,
    agent: AGENT_VERSION,
    token: await tokenHash(token.expose()),
  }
  const headers = { authorization: `Bearer ${token.expose()}`, 'content-type': 'application/json' }
  const { answer, request } = await sendSigned(clock, async (now) => {
    const request = await keys.identity.signEnrolment(claims, connection.url.origin, now)
    const body = utf8(JSON.stringify({ request }))
    return { request, answer: await connection.request({ method: 'POST', path: PATH, headers, body }) }
  })
  const reply = parseAnswer(SignedReply, answer)
  const transcript = enrolmentTranscript(await bodyHash(utf8(request)), reply)
  const gatewayKeys = await verifyGateway(reply.gateway, transcript, [token.gatewayKey])
  if (gatewayKeys === undefined) throw wrongGatewayKey()
  const { gateway: _, ...node } = EnrolReply.parse(reply)
  return { node, gatewayKeys }
}
