/** GET /v1/relay: the upgrade to the gateway's own relay, handed to the part of it that the node names. */
import { Hono } from 'hono'
import { bodyHash } from '../../crypto/identity.ts'
import { claimedNode, proofOf } from '../../crypto/request-proof.ts'
import { callObject } from '../../durable-objects/call-object.ts'
import { RELAY_SHARDS } from '../../protocol/limits.ts'
import { orRefuse, RefusedError } from '../../protocol/refused-error.ts'
import { RELAY_GRANT_HEADER, RELAY_SUBPROTOCOL, relayShardName } from '../../protocol/relay.ts'
import type { GatewayEnv } from '../context.ts'
import { callShardOf } from '../objects.ts'
import { limitCredential, limitRefusals } from '../rate-limit.ts'

export const relayRoutes = new Hono<GatewayEnv>().get('/', async (c) => {
  if (!c.var.config.relays.self) throw new RefusedError('E_RELAY_UNKNOWN')
  const jwt = proofOf(c.req.header('authorization'))
  if (jwt === undefined) throw new RefusedError('E_AUTH_REQUIRED', 'send `Authorization: Claw <proof>`')
  if (c.req.header('upgrade')?.toLowerCase() !== 'websocket') throw new RefusedError('E_UPGRADE_REQUIRED')
  if (!speaks(c.req.header('sec-websocket-protocol'))) throw new RefusedError('E_PROTOCOL_VERSION')
  const shard = readShard(c.req.query('shard'))
  if (shard === undefined) throw new RefusedError('E_QUERY_INVALID', `shard is 0 to ${RELAY_SHARDS - 1}`)
  const claimed = orRefuse(claimedNode(jwt))
  const { pathname, search } = new URL(c.req.url)
  const request = { method: 'GET', path: pathname + search, bodyHash: await bodyHash(new Uint8Array()) }
  // The node's own shard knows who was removed since the grant was given, and which proofs were used.
  const authenticated = await callShardOf(c, claimed, (own) => own.authenticate(jwt, request), { tries: 1 })
  if (!authenticated.ok) limitRefusals(c)
  const { node } = orRefuse(authenticated)
  limitCredential(node.id)
  const headers = {
    upgrade: 'websocket',
    'claw-node': node.id,
    'claw-grant': c.req.header(RELAY_GRANT_HEADER) ?? '',
    'claw-request-id': c.var.requestId,
  }
  const response = await callObject(
    c.env.RELAY_SHARD,
    relayShardName(shard),
    (relay) => relay.fetch(c.req.url, { headers }),
    { tries: 1 },
  )
  return response.status === 101 ? response : new Response(response.body, response)
})

const speaks = (offered = ''): boolean => offered.split(',').some((name) => name.trim() === RELAY_SUBPROTOCOL)

function readShard(text: string | undefined): number | undefined {
  const shard = /^[0-9]{1,3}$/.test(text ?? '') ? Number(text) : RELAY_SHARDS
  return shard < RELAY_SHARDS ? shard : undefined
}
