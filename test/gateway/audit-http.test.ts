/** The audit trail over HTTP: for auditors, and for nodes as witnesses. */
import { runInDurableObject } from 'cloudflare:test'
import { env, exports } from 'cloudflare:workers'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { fromBase64, toBase64, utf8 } from '../../crypto/bytes.ts'
import {
  answerTranscript,
  auditKeyTranscript,
  decodeGatewayProof,
  verifyGateway,
} from '../../crypto/gateway-proof.ts'
import { treeHasher } from '../../crypto/merkle.ts'
import { verifyConsistency, verifyInclusion } from '../../crypto/merkle-proof.ts'
import { decodeBundle, splitHashes } from '../../crypto/merkle-tiles.ts'
import type { AuditLog } from '../../durable-objects/audit-log.ts'
import { AUDIT_OBJECT } from '../../durable-objects/call-object.ts'
import { readConfig } from '../../durable-objects/config.ts'
import {
  AuditArchiveReply,
  AuditContinuationReply,
  AuditEntryReply,
  AuditKeyReply,
  AuditList,
  AuditProofReply,
} from '../../protocol/audit.ts'
import { decodeEntry, itemOf } from '../../protocol/audit-entry.ts'
import { ANSWER_SIGNATURE_HEADER } from '../../protocol/proof.ts'
import { event, events, logNamed, openCheckpoint } from './audit-support.ts'
import { admin, apiKey, call, enrolled, migrate, refusalOf, type TestNode, withToken } from './support.ts'

const log = () => logNamed(AUDIT_OBJECT)
const checkpoint = async () => openCheckpoint(await (await admin('GET', '/v1/audit/checkpoint')).text())
const bytesOf = async (response: Response): Promise<Uint8Array> =>
  new Uint8Array(await response.arrayBuffer())
const list = async (query: string): Promise<AuditList> =>
  AuditList.parse(await (await admin('GET', `/v1/audit?${query}`)).json())

beforeAll(async () => {
  await migrate()
  await log().append(events(0, 300))
})

describe('the files of the log', () => {
  it('the checkpoint is a note signed with the key that the gateway names', async () => {
    const response = await admin('GET', '/v1/audit/checkpoint')
    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8')
    expect(response.headers.get('cache-control')).toBe('no-store')
    const note = await response.text()
    const { origin, gateway } = AuditKeyReply.parse(await (await admin('GET', '/v1/audit/key')).json())
    expect(note.split('\n')[0]).toBe(origin)
    expect(origin).toMatch(/^clawbernetes\.[a-z2-7]{26}\/audit$/)
    const { signing } = await readConfig(env)
    expect(gateway.key).toBe(signing.key)
    expect(await verifyGateway(gateway, auditKeyTranscript(origin), [signing.key])).toEqual([signing.key])
    expect((await openCheckpoint(note)).size).toBeGreaterThanOrEqual(300)
    expect(await (await admin('GET', '/v1/audit/checkpoint')).text()).toBe(note)
  })

  it('bundles hash to tiles, and tiles to the root', async () => {
    const { size, root } = await checkpoint()
    const full = await admin('GET', '/v1/audit/tile/entries/000')
    expect(full.headers.get('cache-control')).toBe('private, max-age=31536000, immutable')
    expect(full.headers.get('content-type')).toBe('application/octet-stream')
    const entries = decodeBundle(await bytesOf(full), 256) ?? []
    const tile = await admin('GET', '/v1/audit/tile/0/000')
    expect(tile.headers.get('cache-control')).toContain('immutable')
    const leaves = splitHashes(await bytesOf(tile))
    expect(leaves.map(toBase64)).toEqual(entries.map((entry) => toBase64(treeHasher.leaf(entry))))
    const partial = await admin('GET', `/v1/audit/tile/0/001.p/${size - 256}`)
    expect(partial.headers.get('cache-control')).not.toContain('immutable')
    const proof = AuditProofReply.parse(
      await (await admin('GET', `/v1/audit/inclusion?index=3&size=${size}`)).json(),
    ).proof.map((hash) => fromBase64(hash) as Uint8Array)
    expect(verifyInclusion(leaves[3] as Uint8Array, 3, { size, root }, proof)).toBe(true)
  })

  it.each([
    'tile/0/0',
    'tile/0/000.p/256',
    'tile/0/009',
    'tile/64/000',
    'tile/entries/009',
    'tile/entries/001.p/255',
    'tile/entries',
    'tile/..%2f0/000',
    'tile/0/000/',
    '999999',
    '9999999999999999999999',
    'inclusion?index=5&size=5',
    'consistency?from=2&to=1',
    'consistency?from=2&to=999999999999',
  ])('there is no %s', async (path) => {
    expect(await refusalOf(await admin('GET', `/v1/audit/${path}`))).toEqual({
      status: 404,
      code: 'E_AUDIT_NOT_FOUND',
    })
  })

  it.each([
    'inclusion',
    'inclusion?index=1',
    'inclusion?index=-1&size=2',
    'consistency?from=01&to=2',
    'consistency?from=1e3&to=2000',
  ])('%s is no question', async (path) => {
    expect(await refusalOf(await admin('GET', `/v1/audit/${path}`))).toMatchObject({
      code: 'E_QUERY_INVALID',
    })
  })
})

describe('entries', () => {
  it('one entry comes with the bytes that were hashed', async () => {
    const reply = AuditEntryReply.parse(await (await admin('GET', '/v1/audit/7')).json())
    const { text, ...item } = reply
    expect(item).toMatchObject({ seq: 7, ...event(7) })
    expect(itemOf(7, decodeEntry(utf8(text)) as never)).toEqual(item)
    const [bytes] = (
      decodeBundle(await bytesOf(await admin('GET', '/v1/audit/tile/entries/000')), 256) ?? []
    ).slice(7)
    expect(utf8(text)).toEqual(bytes)
  })

  it('are listed by each filter, and by all together', async () => {
    const mark = Date.now()
    const odd = { actor: 'someone', action: 'odd.done', outcome: 'denied' } as const
    await log().append([
      event('f/1', odd),
      event('f/2', { ...odd, actor: 'another' }),
      event('f/3', { ...odd, outcome: 'failed' }),
    ])
    const targets = async (query: string) => (await list(query)).items.map(({ target }) => target)
    expect(await targets('action=odd.done')).toEqual(['test:f/3', 'test:f/2', 'test:f/1'])
    expect(await targets('actor=someone&action=odd.done')).toEqual(['test:f/3', 'test:f/1'])
    expect(await targets('target=test:f/')).toEqual(['test:f/3', 'test:f/2', 'test:f/1'])
    expect(await targets('target=est:f/')).toEqual([])
    expect(await targets('outcome=failed')).toEqual(['test:f/3'])
    const since = encodeURIComponent(new Date(mark).toISOString())
    expect(await targets(`action=test.done&since=${since}`)).toEqual([])
    expect(await targets(`action=odd.done&since=${since}&limit=1`)).toEqual(['test:f/3'])
    const until = encodeURIComponent(new Date(mark - 1).toISOString())
    expect(await targets(`action=odd.done&until=${until}`)).toEqual([])
    expect(await targets(`action=test.done&until=${until}&limit=2`)).toEqual(['test:299', 'test:298'])
  })

  it('pages follow one another without a gap, either way', async () => {
    const follow = async (query: string): Promise<number[]> => {
      const seqs: number[] = []
      let cursor: string | undefined
      do {
        const page: AuditList = await list(`${query}&limit=70${cursor ? `&cursor=${cursor}` : ''}`)
        seqs.push(...page.items.map(({ seq }) => seq))
        cursor = page.next
      } while (cursor !== undefined)
      return seqs
    }
    const recorded = async () => (await list('action=audit.list&limit=1000')).items.length
    const before = await recorded()
    const newest = await follow('action=test.done')
    // Five pages are one reading, and this count is another.
    expect((await recorded()) - before).toBe(2)
    expect(newest).toEqual(Array.from({ length: 300 }, (_, index) => 299 - index))
    expect(await follow('from=250&target=test:')).toEqual([
      ...Array.from({ length: 50 }, (_, index) => 250 + index),
      ...(await list('target=test:f')).items.map(({ seq }) => seq).reverse(),
    ])
  })

  it('can be followed without the follower seeing more than itself', async () => {
    const token = await apiKey('follower', 'viewer')
    const poll = async (from: number): Promise<AuditList> =>
      AuditList.parse(await (await withToken(token, 'GET', `/v1/audit?from=${from}`)).json())
    const { position = 0 } = await poll(0)
    const second = await poll(position)
    expect(second).toEqual({ items: [], position })
    await log().append([event('news')])
    expect((await poll(position)).items).toMatchObject([{ seq: position, target: 'test:news' }])
    await withToken(token, 'GET', `/v1/audit/${position}`)
    await withToken(token, 'GET', '/v1/audit/tile/entries/000')
    const reads = await list('actor=key:follower')
    expect(reads.items.map(({ action }) => action)).toEqual(['audit.read'])
    vi.useFakeTimers({ now: Date.now() + 11 * 60_000 })
    try {
      await poll(position)
      expect((await list('actor=key:follower')).items).toHaveLength(2)
    } finally {
      vi.useRealTimers()
    }
  })

  it('a search looks at a bounded number of entries, and says where to go on', async () => {
    await log().append(events(10_000, 6000))
    const first = await list('action=odd.done')
    expect(first.items).toEqual([])
    expect(first.next).toEqual(expect.any(String))
    expect((await list(`action=odd.done&cursor=${first.next}`)).items).toHaveLength(3)
    const ascending = await list('from=310&action=nothing')
    expect(ascending.items).toEqual([])
    expect(ascending.position).toBe(310 + 5000)
    expect((await list(`from=${ascending.position}&target=test:15999`)).items).toHaveLength(1)
  })

  it('finds a time by halves, also where the clock was set back in between', async () => {
    const clocks = logNamed('clocks')
    const HOUR = 3_600_000
    const start = 1_700_000_000_000
    const times = Array.from({ length: 400 }, (_, hour) => start + (hour - (hour % 50 === 7 ? 5 : 0)) * HOUR)
    await runInDurableObject<AuditLog, void>(clocks, async (object) => {
      const now = vi.spyOn(Date, 'now')
      for (const at of times) {
        now.mockReturnValue(at)
        await object.append([event(at)])
      }
      now.mockRestore()
    })
    const found = async (since: number, until: number) =>
      (await clocks.list({ limit: 1000 }, { since, until })).items.map(({ seq }) => seq).reverse()
    for (const [since, until] of [
      [start + 100 * HOUR, start + 120 * HOUR],
      [start, start + 3 * HOUR],
      [start + 380 * HOUR, start + 999 * HOUR],
      [start - 9 * HOUR, start - HOUR],
    ] as const)
      expect(await found(since, until)).toEqual(
        times.flatMap((at, index) => (at >= since && at <= until ? [index] : [])),
      )
  })

  it.each([
    'colour=red',
    'outcome=perhaps',
    'since=yesterday',
    'from=-1',
    'limit=0',
    'limit=1001',
    'cursor=%21',
    'cursor=eA',
    'from=1x',
  ])('%s is no filter', async (query) => {
    expect(await refusalOf(await admin('GET', `/v1/audit?${query}`))).toMatchObject({
      code: 'E_QUERY_INVALID',
    })
  })
})

describe('a node', () => {
  const asNode = async (node: TestNode, path: string): Promise<Response> => {
    const { jwt } = await node.proof('GET', path)
    return call(path, { headers: { authorization: `Claw ${jwt}` } })
  }

  it('gets checkpoints and hashes, signed for its request, and no entry', async () => {
    const node = await enrolled('witness')
    const path = '/v1/node/audit/checkpoint'
    const { jwt } = await node.proof('GET', path)
    const response = await call(path, { headers: { authorization: `Claw ${jwt}` } })
    const body = await bytesOf(response)
    const { signing } = await readConfig(env)
    const signature = decodeGatewayProof(response.headers.get(ANSWER_SIGNATURE_HEADER) ?? '')
    const transcript = await answerTranscript({ proof: jwt, status: 200, body })
    expect(signature && (await verifyGateway(signature, transcript, [signing.key]))).toEqual([signing.key])

    const old = await openCheckpoint(new TextDecoder().decode(body))
    await log().append(events(20_000, 5))
    const now = await openCheckpoint(await (await asNode(node, path)).text())
    const answered = await asNode(node, `/v1/node/audit/consistency?from=${old.size}&to=${now.size}`)
    const proof = AuditProofReply.parse(await answered.json()).proof.map(
      (hash) => fromBase64(hash) as Uint8Array,
    )
    expect(verifyConsistency(old, now, proof)).toBe(true)
    const asked = await asNode(node, `/v1/node/audit/continuation?from=${old.size}`)
    const continuation = AuditContinuationReply.parse(await asked.json())
    expect(continuation.proof?.map((hash) => fromBase64(hash))).toEqual(proof)
    expect(await openCheckpoint(continuation.checkpoint)).toEqual(now)
    const beyond = await asNode(node, `/v1/node/audit/continuation?from=${now.size + 1}`)
    expect(AuditContinuationReply.parse(await beyond.json()).proof).toBeNull()
    const tile = await asNode(node, '/v1/node/audit/tile/0/000')
    expect((await bytesOf(tile)).length).toBe(8192)
    for (const refused of ['tile/entries/000', 'tile/0/9', 'tile/9/000'])
      expect(await refusalOf(await asNode(node, `/v1/node/audit/${refused}`))).toMatchObject({
        code: 'E_AUDIT_NOT_FOUND',
      })
  })

  it('asks without a row, again with the same proof, but not with one that is burned', async () => {
    const node = await enrolled('thrifty')
    const path = '/v1/node/audit/checkpoint'
    await asNode(node, path)
    const rows = async (): Promise<number> => (await log().counters()).counters.rows_written
    const before = await rows()
    const { jwt } = await node.proof('GET', path)
    const ask = (): Promise<Response> => call(path, { headers: { authorization: `Claw ${jwt}` } })
    expect([(await ask()).status, (await ask()).status]).toEqual([200, 200])
    expect(await rows()).toBe(before)
    await exports.default.fetch(
      new Request(`http://gateway.test${path}`, { headers: { authorization: `Claw ${jwt}` } }),
    )
    expect(await refusalOf(await ask())).toEqual({ status: 401, code: 'E_PROOF_REPLAYED' })
  })

  it('has no business with the trail itself', async () => {
    const node = await enrolled('curious')
    for (const path of ['/v1/audit', '/v1/audit/0', '/v1/audit/checkpoint', '/v1/audit/tile/entries/000'])
      expect((await asNode(node, path)).status).toBe(401)
    for (const path of ['/v1/node/audit/checkpoint', '/v1/node/audit/tile/0/000'])
      expect((await admin('GET', path)).status).toBe(401)
  })
})

it('an archive is for administrators, recorded with who asked, and answers differently from what never was', async () => {
  const { size, root } = await checkpoint()
  const body = { size, root: toBase64(root) }
  const viewer = await apiKey('archivist', 'operator')
  expect(await refusalOf(await withToken(viewer, 'POST', '/v1/audit/archive', body))).toMatchObject({
    code: 'E_ROLE_DENIED',
  })
  expect(await refusalOf(await admin('POST', '/v1/audit/archive', { ...body, size: size - 1 }))).toEqual({
    status: 409,
    code: 'E_AUDIT_CHECKPOINT',
  })
  const { below } = AuditArchiveReply.parse(await (await admin('POST', '/v1/audit/archive', body)).json())
  expect(below).toBe(size - (size % 256))
  const [entry] = (await list('action=audit.archive')).items
  expect(entry).toMatchObject({ actor: 'admin:root', detail: { size, root: toBase64(root), below } })
  for (const path of ['/v1/audit/0', '/v1/audit/tile/entries/000'])
    expect(await refusalOf(await admin('GET', path))).toEqual({ status: 410, code: 'E_AUDIT_ARCHIVED' })
  expect((await admin('GET', '/v1/audit/tile/0/000')).status).toBe(200)
})
