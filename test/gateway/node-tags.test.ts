import { createExecutionContext, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { FLEET_OBJECT } from '../../durable-objects/call-object.ts'
import { NodeItem } from '../../protocol/http.ts'
import { Tags } from '../../protocol/ids.ts'
import { MAX_TAGS } from '../../protocol/limits.ts'
import { app } from '../../worker/app.ts'
import { put, read, refusedTo } from './secret-support.ts'
import { admin, auditEntries, enrolled, migrate, ORIGIN, refusalOf } from './support.ts'

beforeAll(migrate)

const patch = (name: string, tags: unknown) => admin('PATCH', `/v1/nodes/${name}`, { tags })
const tagsOf = async (reply: Response) => NodeItem.parse(await reply.json()).tags
const storedTags = async (name: string) => tagsOf(await admin('GET', `/v1/nodes/${name}`))

describe('the tags of a node', () => {
  it('are added, taken away and replaced, each once and in order', async () => {
    await enrolled('tagged', { tags: Tags.parse(['a', 'b']) })
    expect(await tagsOf(await patch('tagged', { add: ['c', 'a'] }))).toEqual(['a', 'b', 'c'])
    expect(await tagsOf(await patch('tagged', { add: ['d'], remove: ['b', 'x'] }))).toEqual(['a', 'c', 'd'])
    expect(await storedTags('tagged')).toEqual(['a', 'c', 'd'])
    expect(await tagsOf(await patch('tagged', ['z', 'y', 'z']))).toEqual(['z', 'y'])
    expect(await tagsOf(await patch('tagged', []))).toEqual([])
    expect(await storedTags('tagged')).toEqual([])
  })

  it('of two people who change them at once keep what both asked for', async () => {
    await enrolled('busy', { tags: Tags.parse(['old']) })
    const adding = Array.from({ length: 10 }, (_, n) => patch('busy', { add: [`tag-${n}`] }))
    const replies = await Promise.all([...adding, patch('busy', { remove: ['old'] })])
    expect(replies.every(({ status }) => status === 200)).toBe(true)
    expect((await storedTags('busy')).toSorted()).toEqual(Array.from({ length: 10 }, (_, n) => `tag-${n}`))
  })

  it('are changed only after the trail has it', async () => {
    const node = await enrolled('traced')
    await patch('traced', { add: ['a', 'b'], remove: ['c'] })
    expect((await auditEntries(1))[0]).toMatchObject({
      actor: 'admin:root',
      action: 'node.tag',
      target: `node:${node.id}`,
      outcome: 'allowed',
      detail: { add: 'a b', remove: 'c' },
    })
    const append = () => Promise.reject(new Error('down'))
    const response = await app.fetch(
      new Request(`${ORIGIN}/v1/nodes/traced`, {
        method: 'PATCH',
        headers: { authorization: `Bearer ${env.TEST_ADMIN_TOKEN}` },
        body: '{"tags":[]}',
      }),
      { ...env, AUDIT_LOG: { getByName: () => ({ append }) } },
      createExecutionContext(),
    )
    expect(response.status).toBe(500)
    expect(await storedTags('traced')).toEqual(['a', 'b'])
  })

  it('are never too many, and the trail tells of the try', async () => {
    await enrolled('full', { tags: Tags.parse(Array.from({ length: MAX_TAGS }, (_, n) => `t${n}`)) })
    expect(await refusalOf(await patch('full', { add: ['more'] }))).toEqual({
      status: 400,
      code: 'E_TOO_MANY_TAGS',
    })
    expect((await auditEntries(1))[0]).toMatchObject({ outcome: 'failed', reason: 'E_TOO_MANY_TAGS' })
    expect(await storedTags('full')).toHaveLength(MAX_TAGS)
    expect(await tagsOf(await patch('full', { add: ['more'], remove: ['t0'] }))).toContain('more')
  })

  it('are of their form, of a node that is there', async () => {
    const gone = await enrolled('gone')
    await admin('DELETE', '/v1/nodes/gone')
    for (const name of ['gone', 'nobody', gone.id, '..%2Ftokens'])
      expect((await refusalOf(await patch(name, ['a']))).code).toBe('E_NODE_NOT_FOUND')
    await enrolled('formal')
    for (const tags of [
      'a',
      ['Not A Tag'],
      [''],
      {},
      { add: ['a'], remove: ['a'] },
      { add: ['a'], set: [] },
      null,
    ])
      expect((await refusalOf(await patch('formal', tags))).code, JSON.stringify(tags)).toBe('E_BODY_INVALID')
    const extra = await admin('PATCH', '/v1/nodes/formal', { tags: ['a'], name: 'other' })
    expect((await refusalOf(extra)).code).toBe('E_BODY_INVALID')
    expect(await storedTags('formal')).toEqual([])
  })
})

describe('a secret for a tag', () => {
  it('is read from the moment the node has it to the moment it is taken away', async () => {
    const node = await enrolled('reader')
    await put('tag.gated', 'v', '?allow-tag=trainer')
    for (let round = 0; round < 3; round++) {
      expect(await refusedTo(node, 'tag.gated')).toMatch(/^E_SECRET_/)
      await patch('reader', { add: ['trainer'] })
      expect(await read(node, ['tag.gated'])).toEqual(['v'])
      await patch('reader', { remove: ['trainer'] })
    }
    expect(await refusedTo(node, 'tag.gated')).toMatch(/^E_SECRET_/)
  })

  it('is refused by a second try, if the shard was not told of the first', async () => {
    const node = await enrolled('unheard', { tags: Tags.parse(['trainer']) })
    await put('tag.unheard', 'v', '?allow-tag=trainer')
    expect(await read(node, ['tag.unheard'])).toEqual(['v'])
    await runInDurableObject(env.FLEET.getByName(FLEET_OBJECT), (_, state) => {
      state.storage.sql.exec("UPDATE nodes SET tags = '[]' WHERE id = ?", node.id)
    })
    expect(await read(node, ['tag.unheard'])).toEqual(['v'])
    expect(await tagsOf(await patch('unheard', { remove: ['trainer'] }))).toEqual([])
    expect(await refusedTo(node, 'tag.unheard')).toMatch(/^E_SECRET_/)
  })
})

describe('a session of a node whose tags change', () => {
  it('goes on, its peers learn the tags, and a clone of it is still one', async () => {
    const node = await enrolled('live')
    const watcher = await (await enrolled('live-peer')).connect()
    const session = await node.connect({ generation: 7 })
    await patch('live', ['seen'])
    let peer: { readonly tags?: readonly string[] | undefined } | undefined
    while (peer?.tags === undefined) {
      const { put: peers = [] } = await watcher.next('mesh')
      peer = peers.find(({ id }) => id === node.id)
    }
    expect(peer.tags).toEqual(['seen'])
    expect(await (await admin('GET', '/v1/nodes/live')).json()).toMatchObject({
      status: 'online',
      tags: ['seen'],
    })
    const clone = await node.open()
    clone.send({ ...node.register(), generation: 7 })
    expect(await clone.next('error')).toMatchObject({ code: 'E_NODE_QUARANTINED' })
    expect((await session.closed).code).toBe(4004)
    watcher.close()
  })
})
