/** GET /v1/session: the WebSocket upgrade, handed to the shard of the node that the proof names. */
import { Hono } from 'hono'
import { bodyHash } from '../../crypto/identity.ts'
import { claimedNode, proofOf } from '../../crypto/request-proof.ts'
import { orRefuse, RefusedError } from '../../protocol/refused-error.ts'
import type { GatewayEnv } from '../context.ts'
import { callShardOf } from '../objects.ts'
import { limitRefusals } from '../rate-limit.ts'

export const sessionRoutes = new Hono<GatewayEnv>().get('/', async (c) => {
  if (c.req.header('upgrade')?.toLowerCase() !== 'websocket') throw new RefusedError('E_UPGRADE_REQUIRED')
  const jwt = proofOf(c.req.header('authorization'))
  if (jwt === undefined) throw new RefusedError('E_AUTH_REQUIRED', 'send `Authorization: Claw <proof>`')
  const node = orRefuse(claimedNode(jwt))
  // Only what the shard needs goes on: no header of the client's reaches an object unless this line names it.
  const headers = {
    upgrade: 'websocket',
    'claw-proof': jwt,
    'claw-body-hash': await bodyHash(new Uint8Array()),
    'claw-request-id': c.var.requestId,
  }
  const response = await callShardOf(c, node, (shard) => shard.fetch(c.req.url, { headers }), { tries: 1 })
  if (response.status === 401 || response.status === 403) limitRefusals(c)
  // A response from an object has immutable headers; a refusal gets ours like any other answer.
  return response.status === 101 ? response : new Response(response.body, response)
})
