import { evictDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { importSealingKey } from '../../crypto/hpke.ts'
import { openSignal, sealSignal } from '../../crypto/signal.ts'
import type { MeshChanges } from '../../protocol/mesh.ts'
import { admin, enrolled, migrate, type TestNode, type TestSession } from './support.ts'

beforeAll(migrate)

/** Connects and folds the map that comes, until it holds all of these. */
async function mapOf(session: TestSession, wanted: readonly TestNode[], map = new Map<string, string>()) {
  let last: MeshChanges | undefined
  while (!wanted.every(({ id }) => map.has(id))) {
    last = await session.next('mesh')
    if (last.from === undefined) map.clear()
    for (const peer of last.put ?? []) map.set(peer.id, peer.name)
    for (const id of last.del ?? []) map.delete(id)
  }
  return { map, last }
}

const snapshots = async () => (await env.FLEET.getByName('fleet:v1').counters()).counters.mesh_snapshots_sent

describe('the mesh map', () => {
  it('reaches a newcomer as a snapshot and everybody else as a delta of one entry', async () => {
    const a = await enrolled('m-a')
    const sessionA = await a.connect()
    await mapOf(sessionA, [a])
    const before = await snapshots()
    const b = await enrolled('m-b')
    const sessionB = await b.connect()
    expect((await mapOf(sessionB, [a, b])).map.get(a.id)).toBe('m-a')
    const delta = await sessionA.next('mesh')
    expect(delta).toMatchObject({
      put: [{ id: b.id, name: 'm-b', wg: b.wg, seal: b.seal, ip4: b.reply.ipv4 }],
    })
    expect(JSON.stringify(delta).length).toBeLessThanOrEqual(300)
    expect(await snapshots()).toBe(before + 1)
    sessionA.close()
    sessionB.close()
  })

  it('resumes from the place a node has: no snapshot, nothing where nothing changed', async () => {
    const a = await enrolled('r-a')
    const first = await a.connect()
    const { last } = await mapOf(first, [a])
    first.close()
    const at = { epoch: last?.epoch ?? '', seq: last?.to ?? 0 }
    const before = await snapshots()
    const again = await a.connect({ at })
    const b = await enrolled('r-b')
    const sessionB = await b.connect()
    expect((await again.next('mesh')).put).toMatchObject([{ id: b.id }])
    again.close()
    sessionB.close()
    const afterB = await snapshots()
    expect(afterB).toBe(before + 1)
    const third = await a.connect({ at })
    const delta = await third.next('mesh')
    expect(delta).toMatchObject({ from: at.seq })
    expect(await snapshots()).toBe(afterB)
    third.close()
  })

  it('is sent whole to a node with a place of another epoch', async () => {
    const a = await enrolled('e-a')
    const session = await a.connect({ at: { epoch: 'elsewhere', seq: 3 } })
    expect((await session.next('mesh')).from).toBeUndefined()
    session.close()
  })

  it('takes a removed node out of every map at once', async () => {
    const [a, b] = [await enrolled('d-a'), await enrolled('d-b')]
    const [sessionA, sessionB] = [await a.connect(), await b.connect()]
    await mapOf(sessionA, [a, b])
    await admin('DELETE', '/v1/nodes/d-b')
    expect((await sessionA.next('mesh')).del).toEqual([b.id])
    await sessionB.closed
    sessionA.close()
  })

  it('says nothing to or of a node that takes no part', async () => {
    const [a, b] = [await enrolled('q-a'), await enrolled('q-b')]
    const watcher = await a.connect()
    await mapOf(watcher, [a])
    const silent = await b.connect({ mesh: false })
    const c = await enrolled('q-c')
    const sessionC = await c.connect()
    expect((await watcher.next('mesh')).put).toMatchObject([{ id: c.id }])
    expect(await silent.heartbeat()).toBe('pong')
    watcher.close()
    silent.close()
    sessionC.close()
  })

  it('is mended by the sweep and by a resync after a lost publication and an eviction', async () => {
    const a = await enrolled('l-a')
    const session = await a.connect()
    const { last } = await mapOf(session, [a])
    await evictDurableObject(env.FLEET.getByName('fleet:v1'))
    const b = await enrolled('l-b')
    const sessionB = await b.connect()
    await mapOf(session, [b])
    session.send({ type: 'mesh_resync', at: { epoch: last?.epoch ?? '', seq: last?.to ?? 0 } })
    expect((await session.next('mesh')).put).toMatchObject([{ id: b.id }])
    session.send({ type: 'mesh_resync' })
    expect((await session.next('mesh')).from).toBeUndefined()
    session.close()
    sessionB.close()
  })
})

describe('signals', () => {
  it('go from node to node, sealed, with the sender the gateway vouches for', async () => {
    const [a, b] = [await enrolled('s-a'), await enrolled('s-b')]
    const [sessionA, sessionB] = [await a.connect(), await b.connect()]
    const route = { fleet: a.reply.fleet, from: a.id, to: b.id }
    const signal = {
      kind: 'endpoints' as const,
      endpoints: [],
      mapped: [],
      nat: 'unknown' as const,
      probes: true,
      reply: true,
      at: 1,
    }
    const sealed = await sealSignal(b.seal, signal, route, await importSealingKey(a.sealing))
    const absent = await enrolled('s-absent')
    sessionA.send({
      type: 'signal',
      signals: [
        { to: absent.id, sealed },
        { to: b.id, sealed },
      ],
    })
    const received = await sessionB.next('signal')
    expect(received).toEqual({ type: 'signal', from: a.id, sealed })
    const key = await importSealingKey(b.sealing)
    expect(await openSignal(key, received.sealed, route, a.seal)).toEqual({ ok: true, value: signal })
    expect(await openSignal(key, received.sealed, { ...route, from: absent.id }, absent.seal)).toMatchObject({
      ok: false,
    })
    expect(await openSignal(key, received.sealed, route, absent.seal)).toMatchObject({ ok: false })
    sessionA.close()
    sessionB.close()
  })
})
