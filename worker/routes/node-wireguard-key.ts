/** POST /v1/node/wireguard-key: a node announces its next WireGuard key, and says when it uses it. */
import { Hono } from 'hono'
import { isSafeX25519 } from '../../crypto/x25519.ts'
import { WireguardKeyBody } from '../../protocol/http.ts'
import { nodeKeyDetail } from '../../protocol/node-key-entry.ts'
import { orRefuse, RefusedError } from '../../protocol/refused-error.ts'
import { audit } from '../audit.ts'
import { parseJson } from '../body.ts'
import type { GatewayEnv } from '../context.ts'
import { requireNode } from '../middleware/require-node.ts'
import { callFleet } from '../objects.ts'

export const nodeWireguardKeyRoutes = new Hono<GatewayEnv>().post('/', requireNode, async (c) => {
  const { step, key } = parseJson(c.var.body, WireguardKeyBody)
  const { id, name, identity, seal } = c.var.node
  if (!(await isSafeX25519(key))) throw new RefusedError('E_ENROL_INVALID', 'the key is of low order')
  const entry = {
    actor: `node:${id}`,
    action: step === 'announce' ? 'node.wireguard_announced' : 'node.wireguard_rotated',
    target: `node:${id}`,
  }
  // Only the second of the two entries says the node's keys: until then the one before is in force.
  const detail = nodeKeyDetail({ id, identity, sealing: seal, wireguard: key }, name)
  const { first } = await audit(c, { ...entry, reason: key, ...(step === 'use' && { detail }) })
  const done = await callFleet(c, (fleet) =>
    step === 'announce'
      ? fleet.announceWireguard(id, key)
      : fleet.useWireguard(id, { key, entry: first, identity }),
  )
  if (!done.ok)
    await audit(c, { ...entry, outcome: 'failed', reason: done.error.code, detail: { of: first } })
  return c.json(orRefuse(done))
})
