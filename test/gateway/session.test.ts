import { evictDurableObject, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { NodeItem } from '../../protocol/http.ts'
import { MAX_FRAME_BYTES, REGISTER_TIMEOUT_MS } from '../../protocol/limits.ts'
import { shardName } from '../../protocol/shard.ts'
import { PROTOCOL_VERSION } from '../../protocol/version.ts'
import { admin, call, enrolled, migrate, ORIGIN, refusalOf, TestNode, TestSession } from './support.ts'

beforeAll(migrate)
afterEach(() => vi.useRealTimers())

const register = {
  type: 'register',
  protocol: PROTOCOL_VERSION,
  agent: 'test/1',
  mesh: false,
  generation: 1,
  channel: 'none',
}
const shardOf = (node: TestNode) => env.SESSION_SHARD.getByName(shardName(node.id, 4))
const show = async (name: string) => NodeItem.parse(await (await admin('GET', `/v1/nodes/${name}`)).json())
const errorAfter = async (session: TestSession, frame: object | string | ArrayBuffer) => {
  session.send(frame)
  return (await session.next('error')).code
}

describe('the upgrade', () => {
  it('needs a proof by an enrolled node, for this gateway, method and path, within its minute, once', async () => {
    const node = await enrolled('prover')
    const stranger = await TestNode.make()
    const codeOf = async (jwt: string) => (await refusalOf(await node.upgrade(jwt))).code
    const proof = async (...args: Parameters<TestNode['proof']>) => (await node.proof(...args)).jwt

    expect(await refusalOf(await call('/v1/session', { headers: { upgrade: 'websocket' } }))).toEqual({
      status: 401,
      code: 'E_AUTH_REQUIRED',
    })
    expect(await codeOf('nonsense')).toBe('E_PROOF_MALFORMED')
    expect(await codeOf((await stranger.proof('GET', '/v1/session')).jwt)).toBe('E_NODE_UNKNOWN')
    expect(await codeOf(await proof('GET', '/v1/session', '', 'https://elsewhere.test'))).toBe(
      'E_PROOF_AUDIENCE',
    )
    expect(await codeOf(await proof('GET', '/v1/nodes'))).toBe('E_PROOF_BINDING')
    expect(await codeOf(await proof('POST', '/v1/session'))).toBe('E_PROOF_BINDING')
    expect(await codeOf(await proof('GET', '/v1/session', 'body'))).toBe('E_PROOF_BINDING')
    expect(await codeOf(await proof('GET', '/v1/session', '', ORIGIN, Date.now() - 120_000))).toBe(
      'E_PROOF_EXPIRED',
    )
    expect(await codeOf(await proof('GET', '/v1/session', '', ORIGIN, Date.now() + 120_000))).toBe(
      'E_PROOF_EXPIRED',
    )

    const [header, payload] = (await proof('GET', '/v1/session')).split('.')
    const foreign = (await stranger.proof('GET', '/v1/session')).jwt.split('.')[2]
    for (const signature of [foreign, '', 'AAAA']) {
      expect(await codeOf(`${header}.${payload}.${signature}`)).toBe('E_PROOF_SIGNATURE')
    }
    const none = btoa('{"alg":"none","typ":"claw-proof+jwt"}').replaceAll('=', '')
    expect(await codeOf(`${none}.${payload}.`)).toBe('E_PROOF_MALFORMED')

    const jwt = await proof('GET', '/v1/session')
    const session = await node.open(jwt)
    session.close()
    expect(await codeOf(jwt)).toBe('E_PROOF_REPLAYED')
  })

  it('is refused to a node with more sockets than it has use for', async () => {
    const node = await enrolled('hoarder')
    const sessions = []
    for (let i = 0; i < 8; i++) sessions.push(await node.open())
    expect(await refusalOf(await node.upgrade())).toEqual({ status: 429, code: 'E_RATE_LIMITED' })
    for (const session of sessions) session.close()
  })

  it('admits a proof once under concurrency, and remembers it when the object was evicted', async () => {
    const node = await enrolled('racer')
    const { jwt } = await node.proof('GET', '/v1/session')
    const answers = await Promise.all(Array.from({ length: 8 }, () => node.upgrade(jwt)))
    const [accepted, ...others] = answers.flatMap(({ webSocket }) => webSocket ?? [])
    expect(others).toHaveLength(0)
    // An unread body counts as a reference to the object that sent it, which could then not be evicted.
    await Promise.all(answers.map((answer) => answer.text()))
    const session = new TestSession(accepted as WebSocket)
    session.close()
    await session.closed
    await evictDurableObject(shardOf(node))
    expect((await refusalOf(await node.upgrade(jwt))).code).toBe('E_PROOF_REPLAYED')
  })

  it('is for upgrades only', async () => {
    expect(await refusalOf(await call('/v1/session'))).toEqual({ status: 426, code: 'E_UPGRADE_REQUIRED' })
  })

  it('is refused to a removed node, whose socket is cut and whose identity stays refused', async () => {
    const node = await enrolled('leaver')
    const session = await node.connect()
    expect((await admin('DELETE', '/v1/nodes/leaver')).status).toBe(204)
    await session.next('revoked')
    expect((await session.closed).code).toBe(4003)
    expect(await refusalOf(await node.upgrade())).toEqual({ status: 403, code: 'E_NODE_REMOVED' })
    expect((await admin('GET', '/v1/nodes/leaver')).status).toBe(404)
    expect((await admin('DELETE', '/v1/nodes/leaver')).status).toBe(404)
  })
})

describe('a removal that did not reach the socket', () => {
  it('is brought to it by the sweep', async () => {
    const node = await enrolled('clinging')
    const session = await node.connect({ mesh: false })
    const fleet = env.FLEET.getByName('fleet:v1')
    await runInDurableObject(fleet, (_, { storage }) => {
      storage.sql.exec('UPDATE nodes SET removed_at = 1 WHERE id = ?', node.id)
      storage.sql.exec('INSERT INTO unsettled (node_id) VALUES (?)', node.id)
    })
    await fleet.sweep()
    await session.next('revoked')
    expect((await session.closed).code).toBe(4003)
    await runInDurableObject(fleet, (_, { storage }) => {
      expect(storage.sql.exec('SELECT * FROM unsettled').toArray()).toEqual([])
    })
  })
})

describe('frames', () => {
  it.each([
    ['text that is no JSON', 'hello', 'E_FRAME_MALFORMED'],
    ['JSON that is no object', '[1]', 'E_FRAME_MALFORMED'],
    ['an unknown type', { type: 'takeover' }, 'E_FRAME_MALFORMED'],
    ['a binary frame', new Uint8Array([1, 2]).buffer, 'E_FRAME_MALFORMED'],
    ['an oversize frame', `{"type":"${'x'.repeat(MAX_FRAME_BYTES)}"}`, 'E_FRAME_TOO_LARGE'],
    ['an oversize binary frame', new Uint8Array(MAX_FRAME_BYTES + 1).buffer, 'E_FRAME_TOO_LARGE'],
    ['an early frame', { type: 'mesh_resync' }, 'E_FRAME_OUT_OF_ORDER'],
    ['a missing field', { type: 'register', protocol: PROTOCOL_VERSION }, 'E_FRAME_INVALID'],
    ['an unknown field', { ...register, surprise: 1 }, 'E_FRAME_INVALID'],
    ["another node's id", { ...register, nodeId: 'a'.repeat(26) }, 'E_FRAME_FOREIGN_ID'],
    ['a private key', { ...register, private_key: 'x' }, 'E_FRAME_PRIVATE_KEY'],
    ['a nested private key', { ...register, at: { privateKey: 'x' } }, 'E_FRAME_PRIVATE_KEY'],
    ['a protocol too old', { ...register, protocol: 0 }, 'E_FRAME_INVALID'],
  ])('refuses %s with its code', async (_, frame, code) => {
    const session = await (await enrolled('sender')).open()
    expect(await errorAfter(session, frame)).toBe(code)
    session.send(register)
    const { protocol, settings } = await session.next('registered')
    expect(protocol).toBe(PROTOCOL_VERSION)
    expect(settings.stun).toEqual(['stun.test:3478', '[2001:db8::1]:3478'])
    session.close()
  })

  it('refuses a node that asks for the whole map again and again', async () => {
    const session = await (await enrolled('greedy')).connect()
    for (let i = 0; i < 4; i++) session.send({ type: 'mesh_resync' })
    expect((await session.next('error')).code).toBe('E_FRAME_RATE')
    session.close()
  })

  it('refuses a second register', async () => {
    const session = await (await enrolled('twice')).connect()
    expect(await errorAfter(session, register)).toBe('E_FRAME_OUT_OF_ORDER')
    session.close()
  })

  it('closes the session at the third refusal', async () => {
    const session = await (await enrolled('stubborn')).connect()
    for (let i = 0; i < 3; i++) expect(await errorAfter(session, 'junk')).toBe('E_FRAME_MALFORMED')
    expect(await session.closed).toEqual({ code: 4002, reason: 'E_FRAME_MALFORMED' })
  })

  it('slows a flood down with E_FRAME_RATE', async () => {
    const session = await (await enrolled('flooder')).connect({ mesh: false })
    const telemetry = { uptimeSeconds: 1, load1: 0, memoryTotalBytes: 1, memoryFreeBytes: 1 }
    for (let n = 0; n < 200; n++) session.send({ type: 'telemetry', n, telemetry })
    expect((await session.next('error')).code).toBe('E_FRAME_RATE')
    expect((await session.closed).code).toBe(4002)
  })

  it(
    'closes a socket whose register comes too late, as it is told to',
    async () => {
      const session = await (await enrolled('late')).open()
      expect((await session.next('error')).code).toBe('E_REGISTER_TIMEOUT')
      expect(await session.closed).toEqual({ code: 4001, reason: 'E_REGISTER_TIMEOUT' })
    },
    REGISTER_TIMEOUT_MS + 10_000,
  )
})

describe('presence', () => {
  it('is online with a session and offline at its close, with the time it was last seen', async () => {
    const node = await enrolled('there')
    expect(await show('there')).toMatchObject({ status: 'offline', lastSeen: null })
    const session = await node.connect()
    expect((await show('there')).status).toBe('online')
    session.close()
    await session.closed
    await vi.waitFor(async () => expect((await show('there')).status).toBe('offline'))
    expect((await show('there')).lastSeen).not.toBeNull()
  })

  it('ends as a lease: suspect after 30 s, offline after 60 s, closed by the sweep', async () => {
    const node = await enrolled('silent')
    const session = await node.connect({ mesh: false })
    const age = (ms: number) =>
      runInDurableObject(shardOf(node), (_, state) => {
        for (const socket of state.getWebSockets(node.id)) {
          socket.serializeAttachment({ ...socket.deserializeAttachment(), seenAt: Date.now() - ms })
        }
      }).then(() => evictDurableObject(shardOf(node)))
    await age(31_000)
    expect((await show('silent')).status).toBe('suspect')
    await age(61_000)
    expect((await show('silent')).status).toBe('offline')
    await shardOf(node).sweep(await env.FLEET.getByName('fleet:v1').sweep())
    expect((await session.next('error')).code).toBe('E_LEASE_EXPIRED')
    expect((await session.closed).code).toBe(4010)
  })

  it('is renewed by heartbeats that wake nothing and write nothing', async () => {
    const node = await enrolled('beating')
    const session = await node.connect({ mesh: false })
    const { counters: before } = await shardOf(node).counters()
    await evictDurableObject(shardOf(node))
    for (let i = 0; i < 50; i++) expect(await session.heartbeat()).toBe('pong')
    const { counters: after } = await shardOf(node).counters()
    expect(after.object_wakeups_by_frame).toBe(before.object_wakeups_by_frame)
    expect(after.rows_written).toBe(before.rows_written)
    session.close()
  })

  it('keeps the newest telemetry without writing a row, across hibernation', async () => {
    const node = await enrolled('gauge')
    const session = await node.connect()
    const telemetry = { uptimeSeconds: 5, load1: 0.5, memoryTotalBytes: 64, memoryFreeBytes: 32 }
    const { counters: before } = await shardOf(node).counters()
    session.send({ type: 'telemetry', n: 7, telemetry })
    expect((await session.next('ack')).n).toBe(7)
    expect((await shardOf(node).counters()).counters.rows_written).toBe(before.rows_written)
    await evictDurableObject(shardOf(node))
    expect((await show('gauge')).telemetry).toEqual(telemetry)
    session.close()
  })
})

describe('two sessions of one node', () => {
  it('end with the newer one, and both are told', async () => {
    const node = await enrolled('double')
    const older = await node.connect()
    const newer = await node.open()
    newer.send(node.register())
    expect((await newer.next('registered')).replaced).toBe(true)
    expect((await older.next('error')).code).toBe('E_SESSION_SUPERSEDED')
    expect((await older.closed).code).toBe(4009)
    expect((await show('double')).status).toBe('online')
    newer.close()
  })
})
