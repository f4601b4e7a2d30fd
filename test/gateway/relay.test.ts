/** The gateway's relay inside workerd: who is given a grant, who gets in with it, and what outlives an object that is evicted in use. */
import { evictDurableObject, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { toBase64Url, utf8 } from '../../crypto/bytes.ts'
import { Identity } from '../../crypto/identity.ts'
import { type RelayGrant, signRelayGrant, verifyRelayGrant } from '../../crypto/relay-grant.ts'
import { RelayGrantReply } from '../../protocol/http.ts'
import { GatewayKey, type NodeId } from '../../protocol/ids.ts'
import {
  MAX_RELAY_GRANT_BYTES,
  MAX_RELAY_PEERS,
  RELAY_GRANT_MS,
  RELAY_RATE,
  RELAY_SHARDS,
} from '../../protocol/limits.ts'
import {
  decodePackets,
  encodePackets,
  pairShard,
  RELAY_SUBPROTOCOL,
  RelayReply,
  relayShardName,
} from '../../protocol/relay.ts'
import { admin, call, enrolled, migrate, ORIGIN, refusalOf, type TestNode, TestSession } from './support.ts'

beforeAll(migrate)

const SELF = ORIGIN.replace('https:', 'wss:')
const ELSEWHERE = 'wss://relay.test:8444'
const gatewayKey = GatewayKey.parse((JSON.parse(env.GATEWAY_SIGNING_KEY) as { x: string }).x)

async function askGrant(node: TestNode, peers: readonly NodeId[], relay = SELF): Promise<Response> {
  const body = JSON.stringify({ relay, peers })
  const { jwt } = await node.proof('POST', '/v1/node/relay-grant', body)
  return call('/v1/node/relay-grant', { method: 'POST', headers: { authorization: `Claw ${jwt}` }, body })
}

const granted = async (node: TestNode, ...peers: readonly TestNode[]): Promise<RelayGrantReply> =>
  RelayGrantReply.parse(
    await (
      await askGrant(
        node,
        peers.map(({ id }) => id),
      )
    ).json(),
  )

interface Upgrade {
  readonly grant?: string
  readonly shard?: number | string
  readonly jwt?: string
  readonly protocol?: string
}

async function upgrade(node: TestNode, { grant = '', shard = 0, jwt, protocol }: Upgrade): Promise<Response> {
  const path = `/v1/relay?shard=${shard}`
  const proof = jwt ?? (await node.proof('GET', path)).jwt
  return call(path, {
    headers: {
      upgrade: 'websocket',
      authorization: `Claw ${proof}`,
      'claw-relay-grant': grant,
      'sec-websocket-protocol': protocol ?? RELAY_SUBPROTOCOL,
    },
  })
}

const refused = async (node: TestNode, asked: Upgrade) => (await refusalOf(await upgrade(node, asked))).code

/** A node at the relay. */
class RelayEnd extends TestSession {
  constructor(socket: WebSocket) {
    super(socket)
    socket.addEventListener('message', ({ data }) => {
      if (typeof data === 'string' && data.startsWith('{"type":"mark"')) this.send(data)
    })
  }

  async reply<T extends RelayReply['type']>(type: T): Promise<Extract<RelayReply, { type: T }>> {
    for (;;) {
      const raw = await this.nextRaw()
      if (typeof raw !== 'string') continue
      const reply = RelayReply.parse(JSON.parse(raw))
      if (reply.type === type) return reply as Extract<RelayReply, { type: T }>
    }
  }

  async packets(): Promise<{ index: number; text: string }[]> {
    for (;;) {
      const raw = await this.nextRaw()
      if (typeof raw === 'string') continue
      const bytes = new Uint8Array(raw instanceof Blob ? await raw.arrayBuffer() : (raw as ArrayBuffer))
      return (decodePackets(bytes) ?? []).map(({ index, bytes }) => ({
        index,
        text: new TextDecoder().decode(bytes),
      }))
    }
  }

  sendPackets(index: number, ...texts: string[]): void {
    this.send(encodePackets(texts.map((text) => ({ index, bytes: utf8(text) }))).buffer)
  }
}

async function atRelay(node: TestNode, peer: TestNode): Promise<RelayEnd> {
  const { grant } = await granted(node, peer)
  const shard = pairShard(node.id, peer.id, RELAY_SHARDS)
  const response = await upgrade(node, { grant, shard })
  if (response.webSocket === null) throw new Error(`no socket: ${await response.text()}`)
  expect(response.headers.get('sec-websocket-protocol')).toBe(RELAY_SUBPROTOCOL)
  return new RelayEnd(response.webSocket)
}

/** Two nodes of the mesh, connected through the relay. */
async function pair(name: string) {
  const [a, b] = [await inMesh(`${name}-a`), await inMesh(`${name}-b`)]
  const [one, two] = [await atRelay(a, b), await atRelay(b, a)]
  one.send({ type: 'open', peer: b.id })
  await one.reply('closed')
  two.send({ type: 'open', peer: a.id })
  const { index: ofB } = await one.reply('opened')
  const { index: ofA } = await two.reply('opened')
  const shard = env.RELAY_SHARD.getByName(relayShardName(pairShard(a.id, b.id, RELAY_SHARDS)))
  return { a, b, one, two, ofA, ofB, shard }
}

async function inMesh(name: string): Promise<TestNode> {
  const node = await enrolled(name)
  const session = await node.connect()
  session.close()
  return node
}

describe('a grant', () => {
  it('names the peers of the mesh, for one relay, signed by the gateway, and costs no row', async () => {
    const [a, b, held] = [await inMesh('grant-a'), await inMesh('grant-b'), await inMesh('grant-held')]
    const absent = await enrolled('grant-not-in-mesh')
    await admin('POST', '/v1/nodes/grant-held/quarantine', { reason: 'a test' })
    const before = Date.now()
    const response = await askGrant(a, [b.id, a.id, held.id, absent.id, b.id])
    expect(response.headers.get('claw-signature')).not.toBeNull()
    const { grant, peers, until } = RelayGrantReply.parse(await response.json())
    expect(peers).toEqual([b.id])
    expect(until - before - RELAY_GRANT_MS).toBeLessThan(5_000)
    const expected = { keys: [gatewayKey], origins: new Set([ORIGIN]), now: before + 1_000 }
    const read = await verifyRelayGrant(grant, expected)
    expect(read).toMatchObject({
      ok: true,
      value: { node: a.id, identity: a.identity.publicKey, peers: [b.id], rate: RELAY_RATE, relay: ORIGIN },
    })
    const stranger = GatewayKey.parse((await Identity.fromSeed(Identity.generateSeed())).publicKey)
    for (const change of [
      { keys: [stranger] },
      { origins: new Set(['https://relay.test:8444']) },
    ] satisfies object[])
      expect(await verifyRelayGrant(grant, { ...expected, ...change })).toEqual({
        ok: false,
        error: 'E_RELAY_GRANT',
      })
    expect(await verifyRelayGrant(grant, { ...expected, now: until })).toEqual({
      ok: false,
      error: 'E_RELAY_GRANT_EXPIRED',
    })
    const [body = '', signature = ''] = grant.split('.')
    const text = atob(body.replaceAll('-', '+').replaceAll('_', '/'))
    const forged = `${toBase64Url(utf8(text.replace(String(RELAY_RATE.bytes), '99000000')))}.${signature}`
    expect(forged).not.toBe(grant)
    for (const bad of [forged, `${body}.`, body, '', '.', `${grant}.x`, `${grant}x`, 'x'.repeat(20_000)])
      expect(await verifyRelayGrant(bad, expected)).toMatchObject({ ok: false })

    const elsewhere = RelayGrantReply.parse(await (await askGrant(a, [b.id], ELSEWHERE)).json())
    expect(
      await verifyRelayGrant(elsewhere.grant, { ...expected, origins: new Set(['https://relay.test:8444']) }),
    ).toMatchObject({ ok: true })
  })

  it('fits into its limits with as many peers as it may have', async () => {
    const node = await enrolled('grant-large')
    const peers = Array<NodeId>(MAX_RELAY_PEERS).fill(node.id)
    const { privateKey } = await ownGateway()
    const grant = { ...(await grantFor(node, peers)), relay: `https://${'x'.repeat(240)}:65535` }
    const text = await signRelayGrant({ key: gatewayKey, next: gatewayKey, privateKey }, grant)
    expect(text.length).toBeLessThan(MAX_RELAY_GRANT_BYTES)
  })

  it('is refused, each time with its reason', async () => {
    const [a, b] = [await inMesh('refused-a'), await inMesh('refused-b')]
    const outside = await enrolled('refused-outside')
    expect(await refusalOf(await askGrant(a, [outside.id]))).toEqual({ status: 403, code: 'E_RELAY_PEER' })
    expect(await refusalOf(await askGrant(outside, [a.id]))).toEqual({ status: 403, code: 'E_RELAY_PEER' })
    expect(await refusalOf(await askGrant(a, [b.id], 'wss://other.test'))).toEqual({
      status: 404,
      code: 'E_RELAY_UNKNOWN',
    })
    expect(await refusalOf(await askGrant(a, []))).toEqual({ status: 400, code: 'E_BODY_INVALID' })
    const unsigned = await call('/v1/node/relay-grant', { method: 'POST', body: '{}' })
    expect(await refusalOf(unsigned)).toEqual({ status: 401, code: 'E_AUTH_REQUIRED' })
  })
})

describe('the upgrade', () => {
  it('needs the subprotocol, a part that there is, a proof that was not used, and a grant of this gateway for this node', async () => {
    const [a, b] = [await inMesh('up-a'), await inMesh('up-b')]
    const { grant } = await granted(a, b)
    const stranger = await call('/v1/relay?shard=0')
    expect(await refusalOf(stranger)).toEqual({ status: 401, code: 'E_AUTH_REQUIRED' })
    const { jwt: idle } = await a.proof('GET', '/v1/relay?shard=0')
    const plain = await call('/v1/relay?shard=0', { headers: { authorization: `Claw ${idle}` } })
    expect(await refusalOf(plain)).toEqual({ status: 426, code: 'E_UPGRADE_REQUIRED' })
    expect(await refused(a, { grant, protocol: 'claw-relay.v9' })).toBe('E_PROTOCOL_VERSION')
    for (const shard of [RELAY_SHARDS, -1, 'x', '', 1e9])
      expect(await refused(a, { grant, shard })).toBe('E_QUERY_INVALID')
    expect(await refused(a, { grant, jwt: 'nonsense' })).toBe('E_PROOF_MALFORMED')
    const forOther = (await a.proof('GET', '/v1/relay?shard=1')).jwt
    expect(await refused(a, { grant, jwt: forOther })).toBe('E_PROOF_BINDING')
    expect(await refused(a, {})).toBe('E_RELAY_GRANT')
    expect(await refused(a, { grant: 'x.y' })).toBe('E_RELAY_GRANT')
    // A grant that was stolen is of no use to who does not hold the key it names.
    expect(await refused(b, { grant })).toBe('E_RELAY_GRANT')
    const elsewhere = RelayGrantReply.parse(await (await askGrant(a, [b.id], ELSEWHERE)).json())
    expect(await refused(a, { grant: elsewhere.grant })).toBe('E_RELAY_GRANT')
    const now = Date.now()
    const old = { ...(await grantFor(a, [b.id])), issuedAt: now - RELAY_GRANT_MS, until: now }
    expect(await refused(a, { grant: await signRelayGrant(await ownGateway(), old) })).toBe(
      'E_RELAY_GRANT_EXPIRED',
    )
    const long = { ...(await grantFor(a, [b.id])), until: Date.now() + 2 * RELAY_GRANT_MS }
    expect(await refused(a, { grant: await signRelayGrant(await ownGateway(), long) })).toBe('E_RELAY_GRANT')

    const { jwt } = await a.proof('GET', '/v1/relay?shard=0')
    const first = await upgrade(a, { grant, jwt })
    expect(first.status).toBe(101)
    first.webSocket?.accept()
    first.webSocket?.close()
    expect(await refused(a, { grant, jwt })).toBe('E_PROOF_REPLAYED')
  })
})

describe('packets', () => {
  it('go to the peer, and only while both have opened', async () => {
    const { a, b, one, two, ofA, ofB } = await pair('packets')
    one.sendPackets(ofB, 'first', 'second')
    expect(await two.packets()).toEqual([
      { index: ofA, text: 'first' },
      { index: ofA, text: 'second' },
    ])
    two.sendPackets(ofA, 'back')
    expect(await one.packets()).toEqual([{ index: ofB, text: 'back' }])
    two.send({ type: 'close', peer: a.id })
    expect(await one.reply('closed')).toEqual({ type: 'closed', peer: b.id, reason: 'absent' })
    expect(await one.heartbeat()).toBe('pong')
  })

  it('go on when the object was evicted in use, from what the sockets remember', async () => {
    const { one, two, ofA, ofB, shard } = await pair('evicted')
    one.sendPackets(ofB, 'before')
    expect(await two.packets()).toEqual([{ index: ofA, text: 'before' }])
    await evictDurableObject(shard)
    one.sendPackets(ofB, 'after')
    expect(await two.packets()).toEqual([{ index: ofA, text: 'after' }])
    expect((await shard.account()).packetsOut).toBe(1)
  })

  it('of a node at fault: each violation is said, the third closes, and the object lives on', async () => {
    const { a, b, one, two, ofA, ofB } = await pair('faulty')
    const bytes = crypto.getRandomValues(new Uint8Array(1_000))
    // A length beyond the end of the message.
    bytes.set([0, 0, 0xff, 0xff])
    two.send(bytes.buffer)
    expect(await two.reply('error')).toMatchObject({ code: 'E_FRAME_MALFORMED' })
    two.send('not json')
    expect(await two.reply('error')).toMatchObject({ code: 'E_FRAME_INVALID' })
    two.send(new ArrayBuffer(40_000))
    expect(await two.closed).toEqual({ code: 4002, reason: 'E_FRAME_MALFORMED' })
    expect(await one.reply('closed')).toMatchObject({ peer: b.id, reason: 'absent' })
    const again = await atRelay(b, a)
    again.send({ type: 'open', peer: a.id })
    await one.reply('opened')
    one.sendPackets(ofB, 'still here')
    expect(await again.packets()).toEqual([{ index: ofA, text: 'still here' }])
  })

  it('are cut with the node: its sockets at once, and what it still has of grants is void', async () => {
    const { a, b, one, two, ofB } = await pair('cut')
    const { grant } = await granted(b, a)
    const shard = pairShard(a.id, b.id, RELAY_SHARDS)
    const begun = Date.now()
    expect((await admin('DELETE', '/v1/nodes/cut-b')).status).toBe(204)
    expect(await two.closed).toEqual({ code: 4003, reason: 'E_NODE_REMOVED' })
    expect(Date.now() - begun).toBeLessThan(2_000)
    expect(await one.reply('closed')).toMatchObject({ peer: b.id, reason: 'absent' })
    one.sendPackets(ofB, 'to nobody')
    expect(await refused(b, { grant, shard })).toBe('E_NODE_REMOVED')
    // Also where the relay itself has to tell, because the removal came between the check of the proof and the socket.
    const relay = env.RELAY_SHARD.getByName(relayShardName(shard))
    const headers = { upgrade: 'websocket', 'claw-node': b.id, 'claw-grant': grant }
    const late = await relay.fetch(`${ORIGIN}/v1/relay`, { headers })
    expect((await refusalOf(late)).code).toBe('E_RELAY_GRANT')
    expect(await refusalOf(await askGrant(a, [b.id]))).toEqual({ status: 403, code: 'E_RELAY_PEER' })
  })

  it('are cut with a node that is held, and flow again when it is released', async () => {
    const { a, b, two } = await pair('hold')
    await admin('POST', '/v1/nodes/hold-b/quarantine', { reason: 'a test' })
    expect(await two.closed).toEqual({ code: 4004, reason: 'E_NODE_QUARANTINED' })
    expect((await refusalOf(await askGrant(b, [a.id]))).code).toBe('E_NODE_QUARANTINED')
    await admin('POST', '/v1/nodes/hold-b/release')
    await vi.waitFor(async () => expect((await granted(b, a)).peers).toEqual([a.id]))
    const again = await atRelay(b, a)
    again.send({ type: 'open', peer: a.id })
    expect((await again.reply('opened')).peer).toBe(a.id)
  })

  it('of a second socket: the newest is the node', async () => {
    const { a, b, one, two, ofB } = await pair('twice')
    const newer = await atRelay(a, b)
    expect(await one.closed).toEqual({ code: 4009, reason: 'E_SESSION_SUPERSEDED' })
    newer.send({ type: 'open', peer: b.id })
    await newer.reply('opened')
    newer.sendPackets(ofB, 'from the new one')
    expect((await two.packets())[0]?.text).toBe('from the new one')
  })

  it('leave nothing in the object’s storage', async () => {
    const { one, two, ofB, shard } = await pair('stored')
    one.sendPackets(ofB, 'secret')
    await two.packets()
    await runInDurableObject(shard, async (_, { storage }) => {
      expect((await storage.list()).size).toBe(0)
      const tables = storage.sql.exec(
        "SELECT name FROM sqlite_schema WHERE name NOT LIKE '\\_cf%' ESCAPE '\\'",
      )
      expect(tables.toArray()).toEqual([])
    })
  })
})

describe('the settings of a session', () => {
  it('name the relays: this gateway by the origin that the node knows it by, and the others', async () => {
    const node = await enrolled('told')
    const session = await node.open(
      (await node.proof('GET', '/v1/session', '', 'https://also.gateway.test')).jwt,
    )
    session.send({ ...node.register(), mesh: true })
    const { settings } = await session.next('registered')
    expect(settings.relays).toEqual(['wss://also.gateway.test', ELSEWHERE])
    session.close()
  })
})

async function ownGateway() {
  const jwk = JSON.parse(env.GATEWAY_SIGNING_KEY) as JsonWebKey
  const privateKey = await crypto.subtle.importKey('jwk', jwk, { name: 'Ed25519' }, false, ['sign'])
  return { key: gatewayKey, next: undefined, privateKey }
}

async function grantFor(node: TestNode, peers: readonly NodeId[]): Promise<RelayGrant> {
  const { id: fleet } = await env.FLEET.getByName('fleet:v1').identity()
  const now = Date.now()
  return {
    fleet,
    node: node.id,
    identity: node.identity.publicKey,
    relay: ORIGIN,
    peers,
    rate: RELAY_RATE,
    issuedAt: now,
    until: now + RELAY_GRANT_MS,
  }
}
