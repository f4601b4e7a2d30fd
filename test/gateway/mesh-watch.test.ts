/** What the gateway knows of the nodes' maps, and what it asks of nodes on behalf of people. */
import { evictDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { importSealingKey } from '../../crypto/hpke.ts'
import { openMeshAnswer, sealMeshAnswer } from '../../crypto/mesh-answer.ts'
import { meshHash, sumOfPeers } from '../../crypto/mesh-hash.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import { NodeQuestions } from '../../durable-objects/node-questions.ts'
import { NodeId, SealingKey } from '../../protocol/ids.ts'
import { MAX_MESH_QUESTIONS } from '../../protocol/limits.ts'
import type { MeshChanges, MeshPeer } from '../../protocol/mesh.ts'
import { MeshAnswerReply, MeshStatusList, PeerItem, PeerList } from '../../protocol/mesh-http.ts'
import {
  admin,
  apiKey,
  auditEntries,
  createToken,
  enrolled,
  migrate,
  newWireguardKey,
  refusalOf,
  TestNode,
  type TestSession,
  withToken,
} from './support.ts'

beforeAll(migrate)

/** As an agent has it. */
class Folded {
  readonly peers = new Map<string, MeshPeer>()
  epoch = ''
  seq = 0

  get hash(): string {
    return meshHash(sumOfPeers(this.peers.values()), null)
  }

  fold({ epoch, from, to, put = [], del = [] }: MeshChanges): void {
    if (from === undefined) this.peers.clear()
    for (const id of del) this.peers.delete(id)
    for (const peer of put) this.peers.set(peer.id, peer)
    Object.assign(this, { epoch, seq: to })
  }

  ack(session: TestSession, hash = this.hash): void {
    session.send({ type: 'mesh_ack', epoch: this.epoch, seq: this.seq, hash })
  }
}

const head = async () => (await env.FLEET.getByName('fleet:v1').meshLag([])).head.seq

/** Folds what comes until the newest place is reached. */
async function caughtUp(session: TestSession, map = new Folded()): Promise<Folded> {
  while (map.seq < (await head())) map.fold(await session.next('mesh'))
  return map
}

async function statusOf(name: string) {
  const { items, head } = MeshStatusList.parse(await (await admin('GET', '/v1/mesh/status')).json())
  const item = items.find((entry) => entry.name === name)
  if (item === undefined) throw new Error(`no ${name}`)
  return { ...item, head }
}

const counters = async () => (await env.FLEET.getByName('fleet:v1').counters()).counters
/** Frames of one socket are handled in their order: when this one is answered, those before it are. */
async function settled(session: TestSession): Promise<void> {
  const telemetry = { uptimeSeconds: 1, load1: 1, memoryTotalBytes: 1, memoryFreeBytes: 1 }
  session.send({ type: 'telemetry', n: 1, telemetry })
  await session.next('ack')
}

describe('an acknowledgement', () => {
  it('shows who is up to date and who lags, and costs no row', async () => {
    const a = await enrolled('ack-a')
    const session = await a.connect()
    const map = await caughtUp(session)
    expect(await statusOf('ack-a')).toMatchObject({ at: null, behind: null, hash: 'unknown' })
    const before = await counters()
    map.ack(session)
    await settled(session)
    const after = await counters()
    expect(after.mesh_acks).toBe(before.mesh_acks + 1)
    expect(after.rows_written).toBe(before.rows_written)
    expect(await statusOf('ack-a')).toMatchObject({
      status: 'online',
      at: { epoch: map.epoch, seq: map.seq },
      behind: { entries: 0, since: null },
      hash: 'ok',
    })
    const begun = Date.now()
    const b = await enrolled('ack-b')
    const sessionB = await b.connect()
    const late = await statusOf('ack-a')
    expect(late.behind?.entries).toBe(late.head.seq - map.seq)
    expect(late.behind?.entries).toBeGreaterThan(0)
    expect(Date.parse(late.behind?.since ?? '')).toBeGreaterThanOrEqual(begun - 1)
    expect(Date.parse(late.behind?.since ?? '')).toBeLessThanOrEqual(Date.now())
    await caughtUp(session, map)
    map.ack(session)
    await settled(session)
    expect(await statusOf('ack-a')).toMatchObject({ behind: { entries: 0 }, hash: 'ok' })
    session.close()
    sessionB.close()
  })

  it('of another map has the node sent all of it, once a session, and the trail says so', async () => {
    const a = await enrolled('div-a')
    const session = await a.connect()
    const map = await caughtUp(session)
    const before = await counters()
    map.ack(session, 'AAAAAAAAAAA')
    const snapshot = await session.next('mesh')
    expect(snapshot.from).toBeUndefined()
    const whole = new Folded()
    whole.fold(snapshot)
    await caughtUp(session, whole)
    expect(whole.hash).toBe(map.hash)
    const [entry] = await auditEntries(1)
    expect(entry).toMatchObject({ actor: 'gateway', action: 'mesh.diverged', target: `node:${a.id}` })
    map.ack(session, 'AAAAAAAAAAA')
    await settled(session)
    expect(await statusOf('div-a')).toMatchObject({ hash: 'wrong' })
    const after = await counters()
    expect(after.mesh_divergences).toBe(before.mesh_divergences + 2)
    expect(after.mesh_snapshots_sent).toBe(before.mesh_snapshots_sent + 1)
    expect((await auditEntries(2)).filter(({ action }) => action === 'mesh.diverged')).toHaveLength(1)
    whole.ack(session)
    await settled(session)
    expect(await statusOf('div-a')).toMatchObject({ hash: 'ok' })
    session.close()
  })

  it('of a place that is overtaken, or of another epoch, is no alarm', async () => {
    const a = await enrolled('old-a')
    const session = await a.connect()
    const map = await caughtUp(session)
    const before = await counters()
    session.send({ type: 'mesh_ack', epoch: map.epoch, seq: map.seq - 1, hash: 'AAAAAAAAAAA' })
    session.send({ type: 'mesh_ack', epoch: 'elsewhere', seq: map.seq, hash: 'AAAAAAAAAAA' })
    await settled(session)
    expect((await counters()).mesh_divergences).toBe(before.mesh_divergences)
    expect(await statusOf('old-a')).toMatchObject({ behind: null, hash: 'unknown' })
    session.close()
  })

  it('is not for a node that takes no part', async () => {
    const a = await enrolled('no-mesh')
    const session = await a.connect({ mesh: false })
    session.send({ type: 'mesh_ack', epoch: 'e', seq: 1, hash: 'AAAAAAAAAAA' })
    expect(await session.next('error')).toMatchObject({ code: 'E_FRAME_OUT_OF_ORDER' })
    session.close()
  })

  it('matches after tags, holds, releases and removals, and after the object has woken anew', async () => {
    const [a, b, c] = [await enrolled('seq-a'), await enrolled('seq-b'), await enrolled('seq-c')]
    const session = await a.connect()
    const others = [await b.connect(), await c.connect()]
    const map = await caughtUp(session)
    for (const change of [
      () => admin('PATCH', '/v1/nodes/seq-b', { tags: { add: ['gpu'] } }),
      () => admin('POST', '/v1/nodes/seq-b/quarantine', {}),
      () => admin('POST', '/v1/nodes/seq-b/release', {}),
      () => admin('DELETE', '/v1/nodes/seq-c'),
    ]) {
      expect((await change()).ok).toBe(true)
      await evictDurableObject(env.FLEET.getByName('fleet:v1'))
      await caughtUp(session, map)
      map.ack(session)
      await settled(session)
      expect(await statusOf('seq-a')).toMatchObject({ behind: { entries: 0 }, hash: 'ok' })
    }
    for (const other of [session, ...others]) other.close()
  })
})

describe('a question to a node', () => {
  async function asker() {
    const secret = generateX25519()
    const sealTo = SealingKey.parse(await x25519PublicKey(secret))
    return {
      sealTo,
      request: crypto.randomUUID().replaceAll('-', '').slice(0, 22),
      key: await importSealingKey(secret),
    }
  }

  async function asked(name: string) {
    const node = await enrolled(name)
    return { node, session: await node.connect(), ...(await asker()) }
  }

  it('is carried to it and back, sealed, and is in the trail before', async () => {
    const { node, session, key, ...body } = await asked('ask-a')
    const other = await enrolled('ask-b')
    const reply = admin('POST', '/v1/mesh/ping', { from: 'ask-a', to: 'ask-b', ...body })
    const frame = await session.next('mesh_ping')
    expect(frame).toEqual({ type: 'mesh_ping', ...body, to: other.id })
    expect((await auditEntries(1))[0]).toMatchObject({
      action: 'mesh.ping',
      target: `node:${node.id}`,
      detail: { to: other.id },
    })
    const { fleet } = node.reply
    const question = { fleet, node: node.id, request: body.request }
    const refusal = { kind: 'refusal', code: 'unknown_peer' } as const
    const sealed = await sealMeshAnswer(frame.sealTo, refusal, question, await importSealingKey(node.sealing))
    // To something that was not asked, and to what was.
    session.send({ type: 'mesh_answer', request: 'x'.repeat(22), sealed: 'AAAA' })
    session.send({ type: 'mesh_answer', request: body.request, sealed })
    const answer = MeshAnswerReply.parse(await (await reply).json())
    expect(answer).toEqual({ fleet, node: { id: node.id, name: 'ask-a', sealing: node.seal }, sealed })
    expect(await openMeshAnswer(key, answer.sealed, question, node.seal)).toEqual({
      ok: true,
      value: refusal,
    })
    session.close()
  })

  it('cannot be answered by another node', async () => {
    const { session, key: _, node, ...body } = await asked('ask-c')
    const liar = await (await enrolled('ask-d')).connect()
    const reply = admin('POST', '/v1/mesh/report', { node: 'ask-c', ...body })
    expect(await session.next('mesh_report')).toMatchObject({ request: body.request })
    liar.send({ type: 'mesh_answer', request: body.request, sealed: 'LIAR' })
    await settled(liar)
    session.send({ type: 'mesh_answer', request: body.request, sealed: 'TRUE' })
    expect((await (await reply).json()) as object).toMatchObject({ node: { id: node.id }, sealed: 'TRUE' })
    session.close()
    liar.close()
  })

  it('says so when the node is unknown, away, or outside of the mesh, and when there are too many', async () => {
    const { session, key: _, node: __, ...body } = await asked('ask-e')
    await enrolled('ask-away')
    const outside = await (await enrolled('ask-out')).connect({ mesh: false })
    const report = (node: string, request = body.request) =>
      admin('POST', '/v1/mesh/report', { node, sealTo: body.sealTo, request })
    expect(await refusalOf(await report('ask-nobody'))).toEqual({ status: 404, code: 'E_NODE_NOT_FOUND' })
    expect(await refusalOf(await report('ask-away'))).toEqual({ status: 409, code: 'E_NODE_OFFLINE' })
    expect(await refusalOf(await report('ask-out'))).toEqual({ status: 409, code: 'E_NODE_NO_MESH' })
    expect(await refusalOf(await report('ask-e', 'too-short'))).toMatchObject({ code: 'E_BODY_INVALID' })
    const ids = Array.from({ length: MAX_MESH_QUESTIONS }, (_, n) => `${n}${body.request.slice(1)}`)
    const silent = ids.map((id) => report('ask-e', id))
    for (const _id of ids) await session.next('mesh_report')
    expect(await refusalOf(await report('ask-e'))).toEqual({ status: 429, code: 'E_RATE_LIMITED' })
    for (const id of ids) session.send({ type: 'mesh_answer', request: id, sealed: 'SOME' })
    for (const reply of silent) expect((await reply).status).toBe(200)
    session.close()
    outside.close()
  })
})

it('a question that nobody answers ends, and leaves room for another', async () => {
  const questions = new NodeQuestions(20)
  const node = NodeId.parse('a'.repeat(26))
  const silent = () => questions.ask(node, 'same', () => undefined)
  expect(await silent()).toEqual({ ok: false, error: 'E_NODE_SILENT' })
  const ids = Array.from({ length: MAX_MESH_QUESTIONS }, (_, n) => String(n))
  const open = ids.map((id) => questions.ask(node, id, () => undefined))
  expect(await silent()).toEqual({ ok: false, error: 'E_RATE_LIMITED' })
  expect(new Set((await Promise.all(open)).map(({ ok }) => ok))).toEqual(new Set([false]))
  // Nobody answers for another.
  const other = NodeId.parse('b'.repeat(26))
  expect(await questions.ask(node, 'own', () => questions.answer(other, 'own', 'no'))).toMatchObject({
    ok: false,
  })
  const answered = questions.ask(node, 'more', () => questions.answer(node, 'more', 'yes'))
  expect(await answered).toEqual({ ok: true, value: 'yes' })
})

describe('a peer without an agent', () => {
  const add = (body: object) => admin('POST', '/v1/mesh/peers', body)

  it('enters every map without a sealing key, can be listed, and leaves at once', async () => {
    const a = await enrolled('ext-a')
    const session = await a.connect()
    const map = await caughtUp(session)
    const wg = await newWireguardKey()
    const made = PeerItem.parse(await (await add({ name: 'phone', wg, tags: ['mobile'] })).json())
    expect(made).toMatchObject({ name: 'phone', wg, tags: ['mobile'] })
    expect((await auditEntries(1))[0]).toMatchObject({
      action: 'mesh.peer_add',
      target: 'peer:phone',
      detail: { wireguard: wg },
    })
    const delta = await session.next('mesh')
    expect(delta.put).toEqual([{ id: made.id, name: 'phone', wg, ip4: made.ipv4, tags: ['mobile'] }])
    map.fold(delta)
    map.ack(session)
    await settled(session)
    expect(await statusOf('ext-a')).toMatchObject({ hash: 'ok', behind: { entries: 0 } })
    // A newcomer has it in its first map, too.
    const b = await enrolled('ext-b')
    const sessionB = await b.connect()
    expect((await caughtUp(sessionB)).peers.get(made.id)?.name).toBe('phone')
    expect(PeerList.parse(await (await admin('GET', '/v1/mesh/peers')).json()).items).toEqual([made])
    expect((await admin('DELETE', '/v1/mesh/peers/phone')).status).toBe(204)
    await caughtUp(session, map)
    expect(map.peers.has(made.id)).toBe(false)
    map.ack(session)
    await settled(session)
    expect(await statusOf('ext-a')).toMatchObject({ hash: 'ok' })
    expect(await refusalOf(await admin('DELETE', '/v1/mesh/peers/phone'))).toMatchObject({
      code: 'E_PEER_NOT_FOUND',
    })
    session.close()
    sessionB.close()
  })

  it('is no node: it is in no list of nodes, reads no secret, and has no session', async () => {
    const { name } = PeerItem.parse(
      await (await add({ name: 'tablet', wg: await newWireguardKey(), tags: ['gpu'] })).json(),
    )
    expect(await refusalOf(await admin('GET', `/v1/nodes/${name}`))).toMatchObject({
      code: 'E_NODE_NOT_FOUND',
    })
    const nodes = (await (await admin('GET', '/v1/nodes')).json()) as { items: { name: string }[] }
    expect(nodes.items.some((node) => node.name === name)).toBe(false)
    const recipients = await admin('GET', '/v1/secrets/any/recipients?allow-tag=gpu')
    expect(JSON.stringify(await recipients.json())).not.toContain(name)
    const denied = await admin('GET', `/v1/secrets/any/recipients?allow-node=${name}`)
    expect(denied.status).toBeGreaterThanOrEqual(400)
  })

  it('has a name, a key and an address of its own', async () => {
    const wg = await newWireguardKey()
    const first = PeerItem.parse(await (await add({ name: 'own', wg })).json())
    // A retry after a lost answer is no second peer.
    expect(PeerItem.parse(await (await add({ name: 'own', wg })).json())).toEqual(first)
    expect(await refusalOf(await add({ name: 'own', wg: await newWireguardKey() }))).toEqual({
      status: 409,
      code: 'E_PEER_NAME_TAKEN',
    })
    expect((await auditEntries(1))[0]).toMatchObject({ action: 'mesh.peer_add', outcome: 'failed' })
    expect(await refusalOf(await add({ name: 'own-2', wg }))).toMatchObject({ code: 'E_KEY_IN_USE' })
    const node = await enrolled('own-node')
    expect(await refusalOf(await add({ name: 'own-node', wg: await newWireguardKey() }))).toMatchObject({
      code: 'E_PEER_NAME_TAKEN',
    })
    expect(await refusalOf(await add({ name: 'own-3', wg: node.wg }))).toMatchObject({ code: 'E_KEY_IN_USE' })
    expect(node.reply.ipv4).not.toBe(first.ipv4)
    // A node that comes later under that name, or with that key, does not get it.
    expect((await enrolled('own')).reply.name).toMatch(/^own-[a-z2-7]{4}$/)
    const thief = Object.assign(await TestNode.make(), { wg })
    expect(await refusalOf(await thief.enrol(await createToken(), 'thief'))).toMatchObject({
      code: 'E_KEY_IN_USE',
    })
    await admin('DELETE', '/v1/mesh/peers/own')
    expect(await refusalOf(await add({ name: 'own-4', wg }))).toMatchObject({ code: 'E_KEY_IN_USE' })
    expect(await refusalOf(await add({ name: 'low', wg: 'A'.repeat(43) }))).toMatchObject({
      code: 'E_BODY_INVALID',
    })
    const again = PeerItem.parse(await (await add({ name: 'own', wg: await newWireguardKey() })).json())
    expect(again.ipv4).not.toBe(first.ipv4)
  })

  it('is for operators to let in', async () => {
    const viewer = await apiKey('mesh-viewer', 'viewer')
    const body = { name: 'not-mine', wg: await newWireguardKey() }
    expect(await refusalOf(await withToken(viewer, 'POST', '/v1/mesh/peers', body))).toEqual({
      status: 403,
      code: 'E_ROLE_DENIED',
    })
  })
})
