/** /v1/mesh: how far the nodes are with the map, and what a node says of its mesh when somebody asks it. */
import { Hono } from 'hono'
import type { MapLag } from '../../durable-objects/mesh-log.ts'
import type { NodeRecord } from '../../durable-objects/node-record.ts'
import type { Presence } from '../../durable-objects/sessions.ts'
import type { MeshQuestion } from '../../protocol/frames.ts'
import type { NodeName } from '../../protocol/ids.ts'
import {
  type MeshAnswerReply,
  MeshPingBody,
  MeshReportBody,
  type MeshStatusItem,
} from '../../protocol/mesh-http.ts'
import { RefusedError } from '../../protocol/refused-error.ts'
import { audit } from '../audit.ts'
import { readJson } from '../body.ts'
import type { GatewayContext, GatewayEnv } from '../context.ts'
import { requireRole } from '../middleware/require-role.ts'
import { callFleet, callShardOf, presenceOf } from '../objects.ts'
import { nextCursor, readPage } from '../page.ts'

export const meshStatusRoutes = new Hono<GatewayEnv>()
  .use(requireRole('viewer'))
  .get('/status', async (c) => {
    const page = readPage(c)
    const nodes = await callFleet(c, (fleet) => fleet.list(page.after, page.limit))
    const inMesh = nodes.filter(({ mesh }) => mesh)
    const presence = await presenceOf(c, inMesh)
    const told = [...presence.values()].flatMap(({ node, ack, audience = 0 }) =>
      ack === undefined ? [] : [{ node, audience, seq: ack.seq }],
    )
    const places = told.map(({ audience, seq }) => ({ audience, seq }))
    const { head, lags } = await callFleet(c, (fleet) => fleet.meshLag(places))
    const lagOf = new Map(told.map(({ node }, index) => [node, lags[index]]))
    const items = inMesh.map((node) => itemOf(node, presence.get(node.id), head.epoch, lagOf.get(node.id)))
    return c.json({ head, items, ...nextCursor(nodes, page, nodes.at(-1)?.name) })
  })
  .post('/report', requireRole('operator'), async (c) => {
    const { node: name, after, ...asker } = await readJson(c, MeshReportBody)
    const node = await findNode(c, name)
    await audit(c, { actor: c.var.actor, action: 'mesh.report', target: `node:${node.id}` })
    return ask(c, node, { type: 'mesh_report', ...asker, ...(after && { after }) })
  })
  .post('/ping', requireRole('operator'), async (c) => {
    const { from, to, ...asker } = await readJson(c, MeshPingBody)
    const [node, peer] = [await findNode(c, from), await findNode(c, to)]
    const target = `node:${node.id}`
    await audit(c, { actor: c.var.actor, action: 'mesh.ping', target, detail: { to: peer.id } })
    return ask(c, node, { type: 'mesh_ping', ...asker, to: peer.id })
  })

async function findNode(c: GatewayContext, name: NodeName): Promise<NodeRecord> {
  const node = await callFleet(c, (fleet) => fleet.nodeByName(name))
  if (node === undefined) throw new RefusedError('E_NODE_NOT_FOUND', name)
  return node
}

/** A second try would be another question. */
const ONCE = { tries: 1 }

async function ask(c: GatewayContext, node: NodeRecord, question: MeshQuestion): Promise<Response> {
  const answer = await callShardOf(c, node.id, (shard) => shard.ask(node.id, question), ONCE)
  if (!answer.ok) throw new RefusedError(answer.error, node.name)
  const { id, name, seal: sealing, fleet } = node
  return c.json({ fleet, node: { id, name, sealing }, sealed: answer.value } satisfies MeshAnswerReply)
}

function itemOf(
  { id, name, quarantine }: NodeRecord,
  presence: Presence | undefined,
  epoch: string,
  lag: MapLag | undefined,
): MeshStatusItem {
  const { status = 'offline', ack, telemetry } = presence ?? {}
  const { peers = null, reachable = null, summary } = telemetry?.mesh ?? {}
  return {
    id,
    name,
    status: quarantine === undefined ? status : 'quarantined',
    at: ack === undefined ? null : { epoch: ack.epoch, seq: ack.seq },
    behind: ack?.epoch === epoch && lag !== undefined ? behind(lag) : null,
    hash: ack?.verdict ?? 'unknown',
    peers,
    reachable,
    ...(summary && { summary }),
  }
}

const behind = ({ entries, since }: MapLag): MeshStatusItem['behind'] => ({
  entries,
  since: since === null ? null : new Date(since).toISOString(),
})
