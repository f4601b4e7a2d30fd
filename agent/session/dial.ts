/** What makes a socket this node's session with its gateway: a fresh proof, the generation, what was seen of the connection, and the gateway's own signature. */
import type { X509Certificate } from 'node:crypto'
import type { WebSocket } from 'ws'
import { sessionTranscript } from '../../crypto/gateway-proof.ts'
import { spkiSha256 } from '../../host/pins.ts'
import type { UserError } from '../../host/user-error.ts'
import type { GatewayFrame, RegisterFrame } from '../../protocol/frames.ts'
import { MaskedId } from '../../protocol/masked-id.ts'
import type { Result } from '../../protocol/result.ts'
import { PROTOCOL_VERSION } from '../../protocol/version.ts'
import { type Answer, authenticate, type ReceivedAnswer } from '../gateway-answer.ts'
import { raiseGeneration } from '../generation.ts'
import { finishRotation } from '../identity-rotation.ts'
import type { JoinedNode } from '../joined-node.ts'

const SESSION_PATH = '/v1/session'

export interface Dialled {
  readonly socket: WebSocket
  /** Which session this is, for the log. */
  readonly session: MaskedId
  /** What answers in place of an upgrade, if it is the gateway itself. */
  authenticate(answer: ReceivedAnswer): Promise<Result<Answer, UserError>>
  /** Made when the connection stands. @param certificate the server's, as TLS has checked it. */
  register(certificate: X509Certificate | undefined): Promise<RegisterFrame>
  /** Whether the answer comes from the gateway itself. */
  isGateway(frame: Extract<GatewayFrame, { type: 'registered' }>, register: RegisterFrame): Promise<boolean>
}

/** @param describe what the node says of itself beside that. */
export async function dial(
  node: JoinedNode,
  describe: () => Pick<RegisterFrame, 'agent' | 'mesh' | 'at' | 'offers'>,
): Promise<Dialled> {
  const { directory, connection, client, keys, gatewayKeys } = node
  await finishRotation(node)
  const { headers, jti, jwt } = await client.upgradeProof(SESSION_PATH)
  return {
    socket: connection.webSocket(SESSION_PATH, headers),
    session: new MaskedId(jti),
    authenticate: (answer) => authenticate(answer, jwt, gatewayKeys),
    async register(certificate) {
      if (certificate === undefined) throw new Error('the session has no TLS connection under it')
      const channel = await keys.identity.signChannel({ jti, spki: spkiSha256(certificate, 'base64url') })
      const generation = raiseGeneration(directory)
      return { type: 'register', protocol: PROTOCOL_VERSION, generation, channel, ...describe() }
    },
    isGateway({ gateway, protocol, time, settings }, { generation }) {
      const { fleet, id } = node.state.node
      const transcript = sessionTranscript({
        fleet,
        node: id,
        proof: jti,
        generation,
        protocol,
        time,
        leaseMs: settings.leaseMs,
      })
      return gatewayKeys.verify(gateway, transcript)
    },
  }
}
