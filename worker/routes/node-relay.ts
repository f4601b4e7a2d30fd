/** POST /v1/node/relay-grant: what a node is allowed at a relay, signed, so that the relay need not ask. Costs no row: by itself a grant opens nothing. */
import { Hono } from 'hono'
import { signRelayGrant } from '../../crypto/relay-grant.ts'
import { RelayGrantBody, type RelayGrantReply } from '../../protocol/http.ts'
import { RELAY_GRANT_MS, RELAY_RATE } from '../../protocol/limits.ts'
import { RefusedError } from '../../protocol/refused-error.ts'
import { parseJson } from '../body.ts'
import type { GatewayContext, GatewayEnv } from '../context.ts'
import { requireReadingNode } from '../middleware/require-node.ts'
import { callFleet } from '../objects.ts'

export const nodeRelayRoutes = new Hono<GatewayEnv>().post('/', requireReadingNode, async (c) => {
  const asked = parseJson(c.var.body, RelayGrantBody)
  const { node, config } = c.var
  const relay = asked.relay.replace(/^wss:/, 'https:')
  if (!isKnown(c, asked.relay, relay)) throw new RefusedError('E_RELAY_UNKNOWN')
  const peers = await callFleet(c, (fleet) => fleet.relayable(node.id, [...new Set(asked.peers)]))
  if (peers.length === 0) throw new RefusedError('E_RELAY_PEER')
  const now = Date.now()
  const until = now + RELAY_GRANT_MS
  const grant = await signRelayGrant(config.signing, {
    fleet: node.fleet,
    node: node.id,
    identity: node.identity,
    relay,
    peers,
    rate: RELAY_RATE,
    issuedAt: now,
    until,
  })
  return c.json({ grant, peers, until } satisfies RelayGrantReply)
})

function isKnown(c: GatewayContext, wss: string, https: string): boolean {
  const { relays, origins } = c.var.config
  return relays.others.includes(wss) || (relays.self && origins.has(https))
}
