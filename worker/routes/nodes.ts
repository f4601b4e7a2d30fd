/** /v1/nodes: the registry as people see it, with presence from the session shards. */
import { Hono } from 'hono'
import type { NodeRecord } from '../../durable-objects/node-record.ts'
import type { Presence } from '../../durable-objects/sessions.ts'
import { NodeIpBody, type NodeItem, QuarantineBody } from '../../protocol/http.ts'
import { NodeName } from '../../protocol/ids.ts'
import { RouteChange, routeFacts } from '../../protocol/node-routes.ts'
import { NodePatchBody, tagFacts } from '../../protocol/node-tags.ts'
import { orRefuse, RefusedError } from '../../protocol/refused-error.ts'
import { audit } from '../audit.ts'
import { readJson } from '../body.ts'
import type { GatewayContext, GatewayEnv } from '../context.ts'
import { requireRole } from '../middleware/require-role.ts'
import { callFleet, presenceOf } from '../objects.ts'
import { nextCursor, readPage } from '../page.ts'

export const nodeRoutes = new Hono<GatewayEnv>()
  .use(requireRole('viewer'))
  .get('/', async (c) => {
    const page = readPage(c)
    const nodes = await callFleet(c, (fleet) => fleet.list(page.after, page.limit))
    return c.json({ items: await withPresence(c, nodes), ...nextCursor(nodes, page, nodes.at(-1)?.name) })
  })
  .get('/:name', async (c) => {
    const [item] = await withPresence(c, [await findNode(c)])
    if (item === undefined) throw new RefusedError('E_NODE_NOT_FOUND')
    return c.json(item)
  })
  .patch('/:name', requireRole('operator'), async (c) => {
    const node = await findNode(c)
    const { tags: change } = await readJson(c, NodePatchBody)
    const entry = {
      actor: c.var.actor,
      action: 'node.tag',
      target: `node:${node.id}`,
      detail: tagFacts(change),
    }
    await audit(c, entry)
    const tags = await callFleet(c, (fleet) => fleet.setTags(node.id, change))
    if (!tags.ok) await audit(c, { ...entry, outcome: 'failed', reason: tags.error.code })
    const [item] = await withPresence(c, [{ ...node, tags: orRefuse(tags) }])
    return c.json(item)
  })
  .delete('/:name', requireRole('operator'), async (c) => {
    const name = readName(c.req.param('name'))
    const entry = { actor: c.var.actor, action: 'node.remove', target: `node-name:${name}` }
    const { first } = await audit(c, entry)
    const removed = await callFleet(c, (fleet) => fleet.remove(name))
    if (removed === undefined) {
      await audit(c, { ...entry, outcome: 'failed', reason: 'E_NODE_NOT_FOUND', detail: { of: first } })
      throw new RefusedError('E_NODE_NOT_FOUND')
    }
    return c.body(null, 204)
  })

  .get('/:name/routes', async (c) => {
    const node = await findNode(c)
    return c.json(await callFleet(c, (fleet) => fleet.routes(node.id)))
  })
  .patch('/:name/routes', requireRole('admin'), async (c) => {
    const node = await findNode(c)
    const change = await readJson(c, RouteChange)
    const entry = {
      actor: c.var.actor,
      action: 'node.routes',
      target: `node:${node.id}`,
      detail: routeFacts(change),
    }
    await audit(c, entry)
    const routes = await callFleet(c, (fleet) => fleet.changeRoutes(node.id, change))
    if (!routes.ok) await audit(c, { ...entry, outcome: 'failed', reason: routes.error.code })
    return c.json(orRefuse(routes))
  })
  .put('/:name/ip', requireRole('admin'), async (c) => {
    const node = await findNode(c)
    const { ip4 } = await readJson(c, NodeIpBody)
    const entry = {
      actor: c.var.actor,
      action: 'node.address',
      target: `node:${node.id}`,
      detail: { from: node.ipv4, to: ip4 },
    }
    await audit(c, entry)
    const given = await callFleet(c, (fleet) => fleet.setAddress(node.id, ip4))
    if (!given.ok) await audit(c, { ...entry, outcome: 'failed', reason: given.error.code })
    const [item] = await withPresence(c, [{ ...node, ipv4: orRefuse(given) }])
    return c.json(item)
  })

  .post('/:name/quarantine', requireRole('operator'), async (c) => {
    const node = await findNode(c)
    const { reason } = await readJson(c, QuarantineBody)
    await audit(c, { actor: c.var.actor, action: 'node.quarantine', target: `node:${node.id}`, reason })
    await callFleet(c, (fleet) => fleet.hold(node.id, reason))
    return c.body(null, 204)
  })
  .post('/:name/release', requireRole('operator'), async (c) => {
    const node = await findNode(c)
    await audit(c, { actor: c.var.actor, action: 'node.release', target: `node:${node.id}` })
    await callFleet(c, (fleet) => fleet.hold(node.id, null))
    return c.body(null, 204)
  })
  .post('/:name/rotate-identity', requireRole('operator'), async (c) => {
    const node = await findNode(c)
    await audit(c, { actor: c.var.actor, action: 'node.rotate_identity', target: `node:${node.id}` })
    await callFleet(c, (fleet) => fleet.allowRotation(node.id))
    return c.body(null, 204)
  })
  .post('/:name/rotate-wireguard', requireRole('operator'), async (c) => {
    const node = await findNode(c)
    await audit(c, { actor: c.var.actor, action: 'node.rotate_wireguard', target: `node:${node.id}` })
    await callFleet(c, (fleet) => fleet.askWireguardRotation(node.id))
    return c.body(null, 204)
  })

async function findNode(c: GatewayContext): Promise<NodeRecord> {
  const name = readName(c.req.param('name') ?? '')
  const node = await callFleet(c, (fleet) => fleet.nodeByName(name))
  if (node === undefined) throw new RefusedError('E_NODE_NOT_FOUND')
  return node
}

function readName(text: string): NodeName {
  const name = NodeName.safeParse(text)
  if (!name.success) throw new RefusedError('E_NODE_NOT_FOUND')
  return name.data
}

async function withPresence(c: GatewayContext, nodes: readonly NodeRecord[]): Promise<NodeItem[]> {
  const found = await presenceOf(c, nodes)
  return nodes.map((node) => itemOf(node, found.get(node.id)))
}

const itemOf = (node: NodeRecord, presence: Presence | undefined): NodeItem => ({
  id: node.id,
  name: node.name,
  status: node.quarantine !== undefined ? 'quarantined' : (presence?.status ?? 'offline'),
  ipv4: node.ipv4,
  ipv6: node.ipv6,
  tags: node.tags,
  mesh: node.mesh,
  agent: node.agent,
  createdAt: new Date(node.createdAt).toISOString(),
  lastSeen: presence === undefined ? null : new Date(presence.seenAt).toISOString(),
  ...(node.quarantine !== undefined && { quarantine: node.quarantine }),
  ...(presence?.telemetry && { telemetry: presence.telemetry }),
  keys: { identity: node.identity, wireguard: node.wg, sealing: node.seal },
  entry: node.entry,
})
