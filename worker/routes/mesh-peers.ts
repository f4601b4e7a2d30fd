/** /v1/mesh/peers: devices of the mesh that have no agent. */
import { Hono } from 'hono'
import { isSafeX25519 } from '../../crypto/x25519.ts'
import type { ExternalPeer } from '../../durable-objects/external-peers.ts'
import { NodeName } from '../../protocol/ids.ts'
import { PeerCreateBody, type PeerItem } from '../../protocol/mesh-http.ts'
import { RefusedError } from '../../protocol/refused-error.ts'
import { audit } from '../audit.ts'
import { readJson } from '../body.ts'
import type { GatewayEnv } from '../context.ts'
import { requireRole } from '../middleware/require-role.ts'
import { callFleet } from '../objects.ts'
import { nextCursor, readPage } from '../page.ts'

export const meshPeerRoutes = new Hono<GatewayEnv>()
  .use(requireRole('viewer'))
  .get('/', async (c) => {
    const page = readPage(c)
    const peers = await callFleet(c, (fleet) => fleet.externalPeers(page.after, page.limit))
    return c.json({ items: peers.map(itemOf), ...nextCursor(peers, page, peers.at(-1)?.name) })
  })
  .post('/', requireRole('operator'), async (c) => {
    const peer = await readJson(c, PeerCreateBody)
    if (!(await isSafeX25519(peer.wg))) throw new RefusedError('E_BODY_INVALID', 'the key is of low order')
    const { name, wg, tags } = peer
    const entry = {
      actor: c.var.actor,
      action: 'mesh.peer_add',
      target: `peer:${name}`,
      detail: { wireguard: wg, ...(tags.length > 0 && { tags: tags.join(' ') }) },
    }
    const { first } = await audit(c, entry)
    const added = await callFleet(c, (fleet) => fleet.addExternalPeer({ ...peer, entry: first }))
    if (added.ok) return c.json(itemOf(added.value), 201)
    const { code, detail } = added.error
    await audit(c, { ...entry, outcome: 'failed', reason: code, detail: { of: first } })
    throw new RefusedError(code, detail)
  })
  .delete('/:name', requireRole('operator'), async (c) => {
    const name = NodeName.safeParse(c.req.param('name'))
    if (!name.success) throw new RefusedError('E_PEER_NOT_FOUND')
    const entry = { actor: c.var.actor, action: 'mesh.peer_remove', target: `peer:${name.data}` }
    const { first } = await audit(c, entry)
    const removed = await callFleet(c, (fleet) => fleet.removeExternalPeer(name.data))
    if (removed === undefined) {
      await audit(c, { ...entry, outcome: 'failed', reason: 'E_PEER_NOT_FOUND', detail: { of: first } })
      throw new RefusedError('E_PEER_NOT_FOUND')
    }
    return c.body(null, 204)
  })

const itemOf = ({ createdAt, ...peer }: ExternalPeer): PeerItem => ({
  ...peer,
  createdAt: new Date(createdAt).toISOString(),
})
