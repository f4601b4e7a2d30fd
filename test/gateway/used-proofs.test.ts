/** A proof of a read is used up by the entry of the read, in the audit log: once, whatever becomes of the objects meanwhile. */
import { evictDurableObject, runInDurableObject } from 'cloudflare:test'
import { env, exports } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { randomId } from '../../crypto/bytes.ts'
import { AUDIT_OBJECT } from '../../durable-objects/call-object.ts'
import type { Refusal } from '../../protocol/errors.ts'
import type { Result } from '../../protocol/result.ts'
import { shardName } from '../../protocol/shard.ts'
import { event, headOf, type Log, logNamed } from './audit-support.ts'
import { put } from './secret-support.ts'
import { auditEntries, call, enrolled, migrate, refusalOf, type TestNode } from './support.ts'

beforeAll(migrate)

const PATH = '/v1/node/secrets'
const REPLAYED = { status: 401, code: 'E_PROOF_REPLAYED' }

const bodyFor = (name: string): string => JSON.stringify({ secrets: [{ name }] })

const ask = (jwt: string, name: string): Promise<Response> =>
  call(PATH, { method: 'POST', headers: { authorization: `Claw ${jwt}` }, body: bodyFor(name) })

const readsBy = async ({ id }: TestNode): Promise<unknown[]> =>
  (await auditEntries(50))
    .filter(({ actor, action }) => actor === `node:${id}` && action === 'secret.read')
    .map(({ outcome }) => outcome)

describe('the proof of a read', () => {
  it('is good once under concurrency, and after both objects were evicted', async () => {
    const node = await enrolled('reads-once')
    await put('once', 'x', '?allow-node=reads-once')
    const { jwt } = await node.proof('POST', PATH, bodyFor('once'))
    const answers = await Promise.all(Array.from({ length: 8 }, () => ask(jwt, 'once')))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(7).fill(401)])
    // An unread body counts as a reference to what sent it, which could then not be evicted.
    await Promise.all(answers.map((answer) => answer.text()))
    expect(await readsBy(node)).toEqual(['allowed'])
    await evictDurableObject(env.SESSION_SHARD.getByName(shardName(node.id, 4)))
    await evictDurableObject(env.AUDIT_LOG.getByName(AUDIT_OBJECT))
    expect(await refusalOf(await ask(jwt, 'once'))).toEqual(REPLAYED)
    expect(await readsBy(node)).toEqual(['allowed'])
  })

  it('is used up by a read that is denied', async () => {
    const node = await enrolled('reads-nothing')
    await put('for-others', 'x')
    const { jwt } = await node.proof('POST', PATH, bodyFor('for-others'))
    expect(await refusalOf(await ask(jwt, 'for-others'))).toMatchObject({ code: 'E_SECRET_DENIED' })
    expect(await refusalOf(await ask(jwt, 'for-others'))).toEqual(REPLAYED)
    expect(await readsBy(node)).toEqual(['denied'])
  })

  it('is not good after it crossed the network in clear', async () => {
    const node = await enrolled('reads-in-clear')
    await put('in-clear', 'x', '?allow-node=reads-in-clear')
    const { jwt } = await node.proof('POST', PATH, bodyFor('in-clear'))
    const plain = new Request(`http://gateway.test${PATH}`, { headers: { authorization: `Claw ${jwt}` } })
    await exports.default.fetch(plain)
    expect(await refusalOf(await ask(jwt, 'in-clear'))).toEqual(REPLAYED)
    expect(await readsBy(node)).toEqual([])
  })

  it('is good again where its entry could not be written', async () => {
    const node = await enrolled('reads-later')
    await put('later', 'x', '?allow-node=reads-later')
    const { jwt } = await node.proof('POST', PATH, bodyFor('later'))
    const rename = (from: string, to: string) =>
      runInDurableObject(env.AUDIT_LOG.getByName(AUDIT_OBJECT), (_, { storage }) => {
        storage.sql.exec(`ALTER TABLE ${from} RENAME TO ${to}`)
      })
    await rename('entries', 'entries_away')
    expect((await ask(jwt, 'later')).status).toBe(500)
    await rename('entries_away', 'entries')
    expect((await ask(jwt, 'later')).status).toBe(200)
    expect(await refusalOf(await ask(jwt, 'later'))).toEqual(REPLAYED)
  })
})

describe('entries with a proof', () => {
  const proof = (goneAt = Date.now() + 60_000) => ({ jti: randomId(), goneAt })
  const kept = (log: Log) =>
    runInDurableObject(log, (_, { storage }) =>
      storage.sql
        .exec<{ proofs: string }>('SELECT proofs FROM used_proofs')
        .toArray()
        .flatMap(({ proofs }) => (JSON.parse(proofs) as string[][]).map(([jti]) => jti)),
    )

  it('are taken again from the request that brought it, and from no other', async () => {
    const log = logNamed('proofs-of-one-request')
    const used = proof()
    expect(await log.appendProven([event(0)], used, 'req_a')).toMatchObject({ ok: true, value: { first: 0 } })
    expect(await log.appendProven([event(1)], used, 'req_a')).toMatchObject({ ok: true, value: { first: 1 } })
    const refused = { ok: false, error: { code: 'E_PROOF_REPLAYED' } }
    expect(await log.appendProven([event(2)], used, 'req_b')).toMatchObject(refused)
    expect(await log.appendProven([event(3)], proof(), 'req_b')).toMatchObject({
      ok: true,
      value: { first: 2 },
    })
    expect((await headOf(log)).size).toBe(3)
  })

  it('are refused with a proof that may have been forgotten', async () => {
    const log = logNamed('proofs-too-old')
    const refused = await log.appendProven([event(0)], proof(Date.now()), 'req_a')
    expect(refused).toMatchObject({ ok: false, error: { code: 'E_PROOF_EXPIRED' } })
    expect((await headOf(log)).size).toBe(0)
    expect(await kept(log)).toEqual([])
  })

  it('make room: what is too old to pass goes', async () => {
    const log = logNamed('proofs-that-go')
    await runInDurableObject(log, (_, { storage }) => {
      storage.sql.exec(
        "INSERT INTO used_proofs VALUES (?1, 1, json_array(json_array('old', ?1, 'req_a')))",
        Date.now(),
      )
    })
    const young = proof()
    await log.appendProven([event(0)], young, 'req_b')
    expect(await kept(log)).toEqual([young.jti])
  })

  it('are used up by many at once, of which each is as if it were alone, and of one row', async () => {
    const log = logNamed('proofs-of-a-crowd')
    const [first, second] = [proof(), proof()]
    const calls = [
      { proof: first, request: 'req_a' },
      { proof: second, request: 'req_b' },
      { proof: first, request: 'req_c' },
      { proof: second, request: 'req_b' },
    ].map((use, index) => ({ events: [event(index)], ...use }))
    const codes = async () =>
      (JSON.parse(await log.appendEachProven(JSON.stringify(calls))) as Result<unknown, Refusal>[]).map(
        (result) => (result.ok ? 'taken' : result.error.code),
      )
    expect(await codes()).toEqual(['taken', 'taken', 'E_PROOF_REPLAYED', 'taken'])
    const rows = () =>
      runInDurableObject(
        log,
        (_, { storage }) => storage.sql.exec('SELECT * FROM used_proofs').toArray().length,
      )
    expect(await rows()).toBe(1)
    await evictDurableObject(log)
    expect(await codes()).toEqual(['taken', 'taken', 'E_PROOF_REPLAYED', 'taken'])
    expect(await rows()).toBe(1)
    expect((await headOf(log)).size).toBe(6)
  })

  it('are those of the release before as well', async () => {
    const log = logNamed('proofs-of-before')
    const [young, fresh] = [proof(), proof()]
    await log.append([])
    await runInDurableObject(log, (_, { storage }) => {
      storage.sql.exec('DROP TABLE used_proofs')
      storage.sql.exec('DELETE FROM schema_migrations WHERE id > 4')
      storage.sql.exec(
        'CREATE TABLE used_proofs (gone_at INTEGER NOT NULL, jti TEXT NOT NULL, request TEXT NOT NULL, PRIMARY KEY (gone_at, jti)) WITHOUT ROWID',
      )
      storage.sql.exec("INSERT INTO used_proofs VALUES (?, ?, 'req_a')", young.goneAt, young.jti)
    })
    await evictDurableObject(log)
    expect(await log.appendProven([event(0)], young, 'req_b')).toMatchObject({
      error: { code: 'E_PROOF_REPLAYED' },
    })
    expect(await log.appendProven([event(0)], fresh, 'req_b')).toMatchObject({ ok: true })
  })
})
