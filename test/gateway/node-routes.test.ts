import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { FLEET_OBJECT } from '../../durable-objects/call-object.ts'
import { Fleet } from '../../durable-objects/fleet.ts'
import { fleetIpv6Prefix } from '../../protocol/addresses.ts'
import { NodeItem } from '../../protocol/http.ts'
import { Cidr } from '../../protocol/ids.ts'
import { NodeRoutes } from '../../protocol/node-routes.ts'
import {
  admin,
  apiKey,
  auditEntries,
  createToken,
  enrolled,
  migrate,
  refusalOf,
  TestNode,
  withToken,
} from './support.ts'

beforeAll(migrate)

const networks = (...list: string[]) => Cidr.array().parse(list)
const change = (name: string, body: object) => admin('PATCH', `/v1/nodes/${name}/routes`, body)
const routes = async (reply: Response) => NodeRoutes.parse(await reply.json())
const code = async (reply: Response) => (await refusalOf(reply)).code

describe('networks behind a node', () => {
  it('are routed from the moment they are offered and approved to the moment they are not', async () => {
    const router = await enrolled('router')
    const watcher = await (await enrolled('watcher')).connect()
    const first = await router.connect({ offers: networks('192.168.7.0/24', 'FD00:7::/64') })
    for (const session of [watcher, first]) expect((await session.nextPeer(router)).routes).toBeUndefined()
    expect(await routes(await admin('GET', '/v1/nodes/router/routes'))).toEqual({
      offered: ['192.168.7.0/24', 'fd00:7::/64'],
      approved: [],
    })
    expect((await first.next('routes')).approved).toEqual([])
    const approved = await change('router', { approve: ['192.168.7.0/24', 'fd00:7:0::/64'] })
    expect((await routes(approved)).approved).toEqual(['192.168.7.0/24', 'fd00:7::/64'])
    expect((await watcher.nextPeer(router)).routes).toEqual(['192.168.7.0/24', 'fd00:7::/64'])
    expect((await first.next('routes')).approved).toEqual(['192.168.7.0/24', 'fd00:7::/64'])
    await change('router', { withdraw: ['fd00:7::/64'] })
    expect((await watcher.nextPeer(router)).routes).toEqual(['192.168.7.0/24'])
    // Offered no longer, and then again: the approval stays.
    first.close()
    const second = await router.connect()
    expect((await watcher.nextPeer(router)).routes).toBeUndefined()
    second.close()
    const third = await router.connect({ offers: networks('192.168.7.0/24') })
    expect((await watcher.nextPeer(router)).routes).toEqual(['192.168.7.0/24'])
    expect((await third.next('routes')).approved).toEqual(['192.168.7.0/24'])
    for (const session of [third, watcher]) session.close()
  })

  it('are private, offered, and nobody else’s', async () => {
    const [one, two] = [await enrolled('one'), await enrolled('two')]
    const prefix = fleetIpv6Prefix(one.reply.fleet).replace('::/48', ':1::/64')
    const offers = networks(
      '172.16.0.0/16',
      '172.16.5.0/24',
      '8.8.8.0/24',
      '10.100.7.0/24',
      '10.0.0.0/8',
      prefix,
    )
    const sessions = [await one.connect({ offers }), await two.connect({ offers })]
    for (const [network, expected] of [
      ['8.8.8.0/24', 'E_ROUTE_NETWORK'],
      ['192.168.9.0/24', 'E_ROUTE_NOT_OFFERED'],
      ['10.100.7.0/24', 'E_ROUTE_OVERLAP'],
      ['10.0.0.0/8', 'E_ROUTE_OVERLAP'],
      [prefix, 'E_ROUTE_OVERLAP'],
      ['0.0.0.0/0', 'E_BODY_INVALID'],
      ['172.16.0.1/16', 'E_BODY_INVALID'],
      ['gibberish', 'E_BODY_INVALID'],
    ] as const)
      expect(await code(await change('one', { approve: [network] })), network).toBe(expected)
    expect(
      (await routes(await change('one', { approve: ['172.16.0.0/16', '172.16.5.0/24'] }))).approved,
    ).toHaveLength(2)
    expect(await code(await change('two', { approve: ['172.16.5.0/24'] }))).toBe('E_ROUTE_OVERLAP')
    expect((await auditEntries(1))[0]).toMatchObject({
      action: 'node.routes',
      target: `node:${two.id}`,
      outcome: 'failed',
      reason: 'E_ROUTE_OVERLAP',
      detail: { approve: '172.16.5.0/24' },
    })
    await admin('DELETE', '/v1/nodes/one')
    expect((await change('two', { approve: ['172.16.5.0/24'] })).status).toBe(200)
    for (const body of [{}, { approve: ['172.16.0.0/16'], withdraw: ['172.16.0.0/16'] }, { add: [] }])
      expect(await code(await change('two', body))).toBe('E_BODY_INVALID')
    for (const session of sessions) session.close()
  })

  it('are for administrators to approve', async () => {
    await enrolled('guarded')
    const operator = await apiKey('routes-operator', 'operator')
    const denied = await withToken(operator, 'PATCH', '/v1/nodes/guarded/routes', {
      withdraw: ['10.1.0.0/16'],
    })
    expect(await refusalOf(denied)).toEqual({ status: 403, code: 'E_ROLE_DENIED' })
  })
})

describe('the address of a node', () => {
  const move = (name: string, ip4: string) => admin('PUT', `/v1/nodes/${name}/ip`, { ip4 })

  it('becomes the one it is given: its peers and it hear of it, and the old one rests', async () => {
    const node = await enrolled('mover')
    const watcher = await (await enrolled('mover-peer')).connect()
    const session = await node.connect()
    expect((await watcher.nextPeer(node)).ip4).toBe(node.reply.ipv4)
    expect(NodeItem.parse(await (await move('mover', '10.100.200.7')).json()).ipv4).toBe('10.100.200.7')
    expect((await watcher.nextPeer(node)).ip4).toBe('10.100.200.7')
    expect((await session.closed).code).toBe(1001)
    const again = await node.open()
    again.send({ ...node.register(), mesh: true })
    expect(await again.next('registered')).toMatchObject({ ip4: '10.100.200.7', ip4Range: '10.100.0.0/16' })
    expect((await auditEntries(1))[0]).toMatchObject({
      action: 'node.address',
      detail: { from: node.reply.ipv4, to: '10.100.200.7' },
    })
    const other = await enrolled('newcomer')
    expect(await code(await move('newcomer', '10.100.200.7'))).toBe('E_ADDRESS_TAKEN')
    expect(await code(await move('newcomer', node.reply.ipv4))).toBe('E_ADDRESS_RESTING')
    expect(await code(await move('newcomer', '10.101.0.1'))).toBe('E_ADDRESS_OUTSIDE')
    expect(await code(await move('newcomer', '10.100.0.0'))).toBe('E_ADDRESS_OUTSIDE')
    // The fixed address says nothing of where the others go on.
    expect(other.reply.ipv4).toMatch(/^10\.100\.0\./)
    expect((await move('mover', node.reply.ipv4)).status).toBe(200)
    for (const one of [again, watcher]) one.close()
  })

  it('stays when the range grows; a range that no longer holds it lets nobody join', async () => {
    const fleet = env.FLEET.getByName(FLEET_OBJECT)
    const enrolment = async (cidr: string) => {
      const node = await TestNode.make()
      const token = await createToken()
      // As the object is when it starts under that setting.
      return runInDurableObject(fleet, (_, state) =>
        new Fleet(state, { ...env, FLEET_CIDR: cidr }).enrol({
          name: 'ranged' as never,
          identity: node.identity.publicKey,
          wg: node.wg,
          seal: node.seal,
          agent: token.slice(0, 4),
          tags: [],
          entry: 0,
        }),
      )
    }
    expect(await enrolment('10.100.0.0/30')).toMatchObject({
      ok: false,
      error: { code: 'E_FLEET_CIDR_NARROWED' },
    })
    expect(await enrolment('10.64.0.0/10')).toMatchObject({ ok: true })
  })
})
