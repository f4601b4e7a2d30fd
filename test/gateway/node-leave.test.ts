import { createExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { FLEET_OBJECT } from '../../durable-objects/call-object.ts'
import { app } from '../../worker/app.ts'
import {
  admin,
  auditEntries,
  call,
  createToken,
  enrolled,
  migrate,
  ORIGIN,
  refusalOf,
  type TestNode,
} from './support.ts'

beforeAll(migrate)

const PATH = '/v1/node/leave'

const ask = (jwt: string, body = '{}'): Promise<Response> =>
  call(PATH, { method: 'POST', headers: { authorization: `Claw ${jwt}` }, body })

async function leave(node: TestNode, body = '{}'): Promise<Response> {
  const { jwt } = await node.proof('POST', PATH, body)
  return ask(jwt, body)
}

/** In a gateway one of whose objects is another. */
async function leaveWith(node: TestNode, objects: object): Promise<Response> {
  const { jwt } = await node.proof('POST', PATH, '{}')
  const request = new Request(ORIGIN + PATH, {
    method: 'POST',
    headers: { authorization: `Claw ${jwt}` },
    body: '{}',
  })
  return app.fetch(request, { ...env, ...objects }, createExecutionContext())
}

const isMember = async (name: string) => (await admin('GET', `/v1/nodes/${name}`)).status === 200

describe('a node that leaves', () => {
  it('is gone: its session, its place in every map, its identity; and the trail says so', async () => {
    const [node, peer] = [await enrolled('leaving'), await enrolled('staying')]
    const [own, session] = [await node.connect(), await peer.connect()]
    await session.nextPeer(node)

    const left = await leave(node)
    expect([left.status, await left.json()]).toEqual([200, { left: node.id }])
    expect(left.headers.get('claw-signature')).not.toBeNull()

    await own.next('revoked')
    expect((await own.closed).code).toBe(4003)
    for (let gone: readonly string[] = []; !gone.includes(node.id); )
      gone = (await session.next('mesh')).del ?? []
    expect(await isMember('leaving')).toBe(false)
    expect(await refusalOf(await node.upgrade())).toEqual({ status: 403, code: 'E_NODE_REMOVED' })
    const again = await node.enrol(await createToken(), 'leaving')
    expect(await refusalOf(again)).toEqual({ status: 403, code: 'E_NODE_REMOVED' })
    const address = { ip4: node.reply.ipv4 }
    expect(await refusalOf(await admin('PUT', '/v1/nodes/staying/ip', address))).toEqual({
      status: 409,
      code: 'E_ADDRESS_RESTING',
    })

    const entries = (await auditEntries(20)).filter(({ action }) => action === 'node.leave')
    expect(entries).toMatchObject([
      {
        actor: `node:${node.id}`,
        target: `node:${node.id}`,
        outcome: 'allowed',
        detail: { name: 'leaving' },
      },
    ])
    session.close()
  })

  it('is told so if it asks once more, and the trail has no second time', async () => {
    const node = await enrolled('twice')
    const { jwt } = await node.proof('POST', PATH, '{}')
    expect((await ask(jwt)).status).toBe(200)
    expect((await refusalOf(await ask(jwt))).code).toBe('E_NODE_REMOVED')
    expect(await refusalOf(await leave(node))).toEqual({ status: 403, code: 'E_NODE_REMOVED' })
    const entries = (await auditEntries(10)).filter(({ target }) => target === `node:${node.id}`)
    expect(entries.filter(({ action }) => action === 'node.leave')).toHaveLength(1)
  })

  it('does not take another with it that has its name by now', async () => {
    const node = await enrolled('reused')
    expect((await leave(node)).status).toBe(200)
    expect((await enrolled('reused')).reply.name).toBe('reused')
    expect(await env.FLEET.getByName(FLEET_OBJECT).leave(node.id)).toBe(false)
    expect(await isMember('reused')).toBe(true)
  })

  it('was removed in the same moment: the trail says that this did nothing', async () => {
    const node = await enrolled('late')
    const response = await leaveWith(node, { FLEET: { getByName: () => ({ leave: async () => false }) } })
    expect(await refusalOf(response)).toEqual({ status: 403, code: 'E_NODE_REMOVED' })
    const [outcome, entry] = await auditEntries(2)
    expect(entry).toMatchObject({ action: 'node.leave', outcome: 'allowed' })
    expect(outcome).toMatchObject({
      action: 'node.leave',
      outcome: 'failed',
      reason: 'E_NODE_REMOVED',
      detail: { of: entry?.['seq'] },
    })
  })
})

describe('nobody leaves', () => {
  it.each([
    ['by a proof for another path', '/v1/node/identity', '{}', 'E_PROOF_BINDING'],
    ['by a proof for another body', PATH, '{"x":1}', 'E_PROOF_BINDING'],
  ])('%s', async (_, path, body, code) => {
    const node = await enrolled('bound')
    const { jwt } = await node.proof('POST', path, body)
    expect((await refusalOf(await ask(jwt))).code).toBe(code)
    expect(await isMember(node.reply.name)).toBe(true)
  })

  it('by a body that asks for something else, which uses up its proof', async () => {
    const node = await enrolled('asking')
    const body = '{"node":"other"}'
    const { jwt } = await node.proof('POST', PATH, body)
    expect((await refusalOf(await ask(jwt, body))).code).toBe('E_BODY_INVALID')
    expect((await refusalOf(await ask(jwt, body))).code).toBe('E_PROOF_REPLAYED')
    expect(await isMember('asking')).toBe(true)
  })

  it('by anything but a proof', async () => {
    expect((await refusalOf(await admin('POST', PATH, {}))).code).toBe('E_AUTH_REQUIRED')
  })

  it('while the node is held: it may be a clone that asks', async () => {
    const node = await enrolled('held')
    await admin('POST', '/v1/nodes/held/quarantine', {})
    expect((await refusalOf(await leave(node))).code).toBe('E_NODE_QUARANTINED')
    expect(await isMember('held')).toBe(true)
  })

  it('if the trail cannot say so', async () => {
    const node = await enrolled('unsaid')
    const append = () => Promise.reject(new Error('down'))
    const response = await leaveWith(node, { AUDIT_LOG: { getByName: () => ({ append }) } })
    expect([response.status, await isMember('unsaid')]).toEqual([500, true])
  })
})
