/** /v1/mesh: how far the nodes are with the map, and what a node says of its mesh when somebody asks it. */
import { Hono } from 'hono'
import type { NodeRecord } from '../../durable-objects/fleet.ts'
import type { Presence } from '../../durable-objects/sessions.ts'
import type { MeshQuestion } from '../../protocol/frames.ts'
import type { NodeName } from '../../protocol/ids.ts'
import type { MeshPosition } from '../../protocol/mesh.ts'
import {
  type MeshAnswerReply,
  MeshPingBody,
  MeshReportBody,
  type MeshStatusItem,
} from '../../protocol/mesh-http.ts'
import { audit } from '../audit.ts'
import { readJson } from '../body.ts'
import { type GatewayContext, type GatewayEnv, RefusedError } from '../context.ts'
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
    const places = [...new Set([...presence.values()].flatMap(({ ack }) => (ack ? [ack.seq] : [])))]
    const { head, owedSince } = await callFleet(c, (fleet) => fleet.meshLag(places))
    const since = new Map(places.map((seq, index) => [seq, owedSince[index] ?? null]))
    const items = inMesh.map((node) => itemOf(node, presence.get(node.id), head, since))
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
  head: MeshPosition,
  since: ReadonlyMap<number, number | null>,
): MeshStatusItem {
  const { status = 'offline', ack, telemetry } = presence ?? {}
  const { peers = null, reachable = null, summary } = telemetry?.mesh ?? {}
  return {
    id,
    name,
    status: quarantine === undefined ? status : 'quarantined',
    at: ack === undefined ? null : { epoch: ack.epoch, seq: ack.seq },
    behind: ack?.epoch === head.epoch ? behind(head.seq - ack.seq, since.get(ack.seq)) : null,
    hash: ack?.verdict ?? 'unknown',
    peers,
    reachable,
    ...(summary && { summary }),
  }
}

/** The node may be ahead of what the head was a moment ago. */
const behind = (entries: number, since: number | null | undefined) => ({
  entries: Math.max(0, entries),
  since: entries > 0 && since ? new Date(since).toISOString() : null,
})
