import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { NodeItem } from '../../protocol/http.ts'
import { saysKeys } from '../../protocol/node-key-entry.ts'
import {
  admin,
  auditEntries,
  call,
  createToken,
  enrolled,
  migrate,
  newWireguardKey,
  refusalOf,
  TestNode,
} from './support.ts'

beforeAll(migrate)

const show = async (name: string) => NodeItem.parse(await (await admin('GET', `/v1/nodes/${name}`)).json())

async function tell(node: TestNode, step: string, key: string): Promise<Response> {
  const path = '/v1/node/wireguard-key'
  const body = JSON.stringify({ step, key })
  const { jwt } = await node.proof('POST', path, body)
  return call(path, { method: 'POST', headers: { authorization: `Claw ${jwt}` }, body })
}

describe('another WireGuard key', () => {
  it('is announced beside the one in force, then takes its place; peers and the trail follow', async () => {
    const [node, peer] = [await enrolled('changing'), await enrolled('watching')]
    const own = await node.connect()
    const session = await peer.connect()
    await session.nextPeer(node)
    const key = await newWireguardKey()
    const announced = await tell(node, 'announce', key)
    expect(await announced.json()).toEqual({ wireguard: node.wg, next: key })
    expect(announced.headers.get('claw-signature')).not.toBe('')
    expect(await session.nextPeer(node, ({ next }) => next === key)).toMatchObject({ wg: node.wg })
    expect((await show('changing')).keys.wireguard).toBe(node.wg)
    // A lost answer is asked for again.
    expect((await tell(node, 'announce', key)).status).toBe(200)

    expect(await (await tell(node, 'use', key)).json()).toEqual({ wireguard: key, next: null })
    expect(await session.nextPeer(node, ({ wg }) => wg === key)).not.toHaveProperty('next')
    expect(await (await tell(node, 'use', key)).json()).toEqual({ wireguard: key, next: null })

    const { keys, entry: index, id } = await show('changing')
    expect(keys.wireguard).toBe(key)
    const entries = await auditEntries(20)
    const said = entries.find(({ seq }) => seq === index)
    expect(said).toMatchObject({ action: 'node.wireguard_rotated', outcome: 'allowed', reason: key })
    expect(saysKeys(said as never, { id, ...keys })).toBe(true)
    expect(entries.find(({ action }) => action === 'node.wireguard_announced')).toMatchObject({
      actor: `node:${node.id}`,
      reason: key,
    })
    own.close()
    session.close()
  })

  it('is not used before it is announced, and is nobody else’s', async () => {
    const [node, other] = [await enrolled('hasty'), await enrolled('owner')]
    const key = await newWireguardKey()
    expect(await refusalOf(await tell(node, 'use', key))).toEqual({
      status: 409,
      code: 'E_KEY_NOT_ANNOUNCED',
    })
    expect((await show('hasty')).keys.wireguard).toBe(node.wg)
    expect(await auditEntries(1)).toMatchObject([{ action: 'node.wireguard_rotated', outcome: 'failed' }])

    const theirs = await newWireguardKey()
    expect((await tell(other, 'announce', theirs)).status).toBe(200)
    for (const taken of [other.wg, theirs, node.wg])
      expect(await refusalOf(await tell(node, 'announce', taken))).toEqual({
        status: 409,
        code: 'E_KEY_IN_USE',
      })
    // Nor does one that joins come by it.
    const thief = Object.assign(await TestNode.make(), { wg: theirs })
    expect((await refusalOf(await thief.enrol(await createToken(), 'thief'))).code).toBe('E_KEY_IN_USE')
    // A node that has lost its next key announces another.
    const another = await newWireguardKey()
    expect((await tell(node, 'announce', key)).status).toBe(200)
    expect((await tell(node, 'announce', another)).status).toBe(200)
    expect((await refusalOf(await tell(node, 'use', key))).code).toBe('E_KEY_NOT_ANNOUNCED')
  })

  it.each([
    ['a key of low order', 'announce', 'A'.repeat(43), 'E_ENROL_INVALID'],
    ['something that is no key', 'announce', 'short', 'E_BODY_INVALID'],
    ['another step', 'forget', 'B'.repeat(42).concat('A'), 'E_BODY_INVALID'],
  ])('is refused: %s', async (_, step, key, code) => {
    const node = await enrolled('odd')
    expect((await refusalOf(await tell(node, step, key))).code).toBe(code)
  })

  it('is not for a node that was removed or is held', async () => {
    const node = await enrolled('leaver')
    const key = await newWireguardKey()
    await tell(node, 'announce', key)
    await admin('POST', '/v1/nodes/leaver/quarantine', {})
    expect((await refusalOf(await tell(node, 'use', key))).code).toBe('E_NODE_QUARANTINED')
    await admin('POST', '/v1/nodes/leaver/release', {})
    await admin('DELETE', '/v1/nodes/leaver')
    expect((await refusalOf(await tell(node, 'use', key))).code).toBe('E_NODE_REMOVED')
  })

  it('that is in force on the node, but not known to be, lets it join again as the same node', async () => {
    const node = await enrolled('rejoining')
    const key = await newWireguardKey()
    await tell(node, 'announce', key)
    const again = await Object.assign(node, { wg: key }).enrol(await createToken(), 'rejoining')
    expect(again.status).toBe(200)
    const stranger = await Object.assign(node, { wg: await newWireguardKey() }).enrol(
      await createToken(),
      'rejoining',
    )
    expect((await refusalOf(stranger)).code).toBe('E_KEY_IN_USE')
  })

  it('is asked of a node by its owner, now or when it comes, until it has one', async () => {
    const node = await enrolled('asked')
    const session = await node.connect()
    expect((await admin('POST', '/v1/nodes/asked/rotate-wireguard', {})).status).toBe(204)
    await session.next('rotate_wireguard')
    session.close()
    await session.closed
    const later = await node.connect()
    await later.next('rotate_wireguard')
    const key = await newWireguardKey()
    await tell(node, 'announce', key)
    await tell(node, 'use', key)
    later.close()
    const last = await node.connect()
    expect(await last.heartbeat()).not.toContain('rotate_wireguard')
    last.close()
    expect((await admin('POST', '/v1/nodes/nobody/rotate-wireguard', {})).status).toBe(404)
  })
})

describe('the lease of the map', () => {
  it('is what the gateway is set to, seven days unless said otherwise', async () => {
    const node = await enrolled('leased')
    const own = await node.open()
    own.send({ ...node.register(), mesh: true })
    expect((await own.next('registered')).settings.leaseMs).toBe(7 * 24 * 60 * 60_000)
    expect(env.MESH_LEASE).toBeUndefined()
    own.close()
  })
})
