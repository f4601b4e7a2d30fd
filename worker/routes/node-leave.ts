/** POST /v1/node/leave: a node takes itself out of its fleet. What follows is what follows when its owner removes it. */
import { Hono } from 'hono'
import { NodeLeaveBody, type NodeLeaveReply } from '../../protocol/http.ts'
import { RefusedError } from '../../protocol/refused-error.ts'
import { audit } from '../audit.ts'
import { parseJson } from '../body.ts'
import type { GatewayEnv } from '../context.ts'
import { requireNode } from '../middleware/require-node.ts'
import { callFleet } from '../objects.ts'

export const nodeLeaveRoutes = new Hono<GatewayEnv>().post('/', requireNode, async (c) => {
  parseJson(c.var.body, NodeLeaveBody)
  const { id, name } = c.var.node
  const entry = { actor: `node:${id}`, action: 'node.leave', target: `node:${id}`, detail: { name } }
  const { first } = await audit(c, entry)
  if (!(await callFleet(c, (fleet) => fleet.leave(id)))) {
    await audit(c, { ...entry, outcome: 'failed', reason: 'E_NODE_REMOVED', detail: { of: first } })
    throw new RefusedError('E_NODE_REMOVED')
  }
  return c.json({ left: id } satisfies NodeLeaveReply)
})
