/** Enrolment: a join token introduces the node's keys to the gateway, once. Doing it again gives the same node. */
import { utf8 } from '../crypto/bytes.ts'
import { tokenHash } from '../crypto/identity.ts'
import { nodeIdOf } from '../crypto/node-id.ts'
import type { GatewayConnection } from '../host/gateway-connection.ts'
import { EXIT, UserError } from '../host/user-error.ts'
import { EnrolReply } from '../protocol/http.ts'
import type { NodeName } from '../protocol/ids.ts'
import { parseAnswer, sendSigned } from './gateway-answer.ts'
import type { GatewayClock } from './gateway-clock.ts'
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

const PATH = '/v1/enrol'

export async function enrol({ connection, token, keys, name, clock }: Enrolment): Promise<EnrolReply> {
  const claims = {
    name,
    wg: keys.wireguard.publicKey,
    seal: keys.sealing.publicKey,
    agent: AGENT_VERSION,
    token: await tokenHash(token.expose()),
  }
  const headers = { authorization: `Bearer ${token.expose()}`, 'content-type': 'application/json' }
  const { answer } = await sendSigned(clock, async (now) => {
    const request = await keys.identity.signEnrolment(claims, connection.url.origin, now)
    return {
      answer: await connection.request({
        method: 'POST',
        path: PATH,
        headers,
        body: utf8(JSON.stringify({ request })),
      }),
    }
  })
  const reply = parseAnswer(EnrolReply, answer)
  if (reply.id !== (await nodeIdOf(keys.identity.publicKey))) throw foreign()
  return reply
}

const foreign = (): UserError =>
  new UserError({
    code: 'E_GATEWAY_ANSWER',
    message: 'the gateway answered for another node',
    why: "a node's id follows from its key, and this one does not",
    exitCode: EXIT.failure,
  })
