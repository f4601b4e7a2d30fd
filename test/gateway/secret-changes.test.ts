import { evictDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { utf8 } from '../../crypto/bytes.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { AUDIT_OBJECT } from '../../durable-objects/call-object.ts'
import { readConfig } from '../../durable-objects/config.ts'
import { secretStores } from '../../durable-objects/secret-stores.ts'
import { AuditList } from '../../protocol/audit.ts'
import { SecretName } from '../../protocol/ids.ts'
import { MUTATION_TIMEOUT_MS } from '../../protocol/limits.ts'
import { settleLost } from '../../secrets/change.ts'
import type { SecretStores } from '../../secrets/stores.ts'
import { writeManaged } from '../../secrets/write.ts'
import { changed, put, read, readAsAdmin, refusedTo, show } from './secret-support.ts'
import { admin, enrolled, migrate } from './support.ts'

beforeAll(migrate)

const stores = async (): Promise<SecretStores> => secretStores(env, await readConfig(env), () => undefined)

/** A minute after everything, so that each open change counts as lost. */
const later = async (): Promise<SecretStores> => ({
  ...(await stores()),
  now: () => Date.now() + MUTATION_TIMEOUT_MS + 1_000,
})

const write = async (broken: Partial<SecretStores>, name: string, value: string) =>
  writeManaged(
    { ...(await stores()), ...broken },
    { actor: 'admin:test', requestId: 'req_test' },
    SecretName.parse(name),
    SecretBytes.take(utf8(value)),
    {},
  )

async function trailOf(name: string) {
  const { items } = AuditList.parse(await (await admin('GET', '/v1/audit?limit=200')).json())
  return items
    .filter(({ target, action }) => target === `secret:${name}` && action === 'secret.write')
    .reverse()
}

/** D1 that goes away at one call, before or after it did what it was asked. */
function failing(db: D1Database, when: 'before' | 'after'): D1Database {
  return new Proxy(db, {
    get(target, key) {
      if (key !== 'batch') return Reflect.get(target, key).bind(target)
      return async (statements: D1PreparedStatement[]) => {
        if (when === 'after') await target.batch(statements)
        throw new Error('the connection was lost')
      }
    },
  })
}

describe('a change whose worker is lost', () => {
  it('before it happened is given up by the sweep, says so in the trail, and cannot happen any more', async () => {
    await put('lost/before', 'old')
    await expect(write({ db: failing(env.DB, 'before') }, 'lost/before', 'new')).rejects.toThrow('lost')
    const [, begun] = await trailOf('lost/before')
    await settleLost(await later())
    expect((await trailOf('lost/before')).at(-1)).toMatchObject({
      outcome: 'failed',
      detail: { of: begun?.seq },
      reason: 'its worker was lost',
    })
    expect(await readAsAdmin('lost/before')).toBe('old')
    const late = env.DB.prepare("INSERT INTO mutations (entry, outcome, at) VALUES (?, 'applied', 1)")
    await expect(late.bind(begun?.seq ?? -1).run()).rejects.toThrow('constraint failed')
  })

  it('after it happened is found to have happened', async () => {
    await put('lost/after', 'old')
    await expect(write({ db: failing(env.DB, 'after') }, 'lost/after', 'new')).rejects.toThrow('lost')
    await settleLost(await later())
    expect((await trailOf('lost/after')).map(({ outcome }) => outcome)).toEqual(['allowed', 'allowed'])
    expect(await readAsAdmin('lost/after')).toBe('new')
    expect((await show('lost/after')).version).toBe(2)
  })

  it('is not mistaken for one that is under way', async () => {
    await put('lost/young', 'old')
    await expect(write({ db: failing(env.DB, 'before') }, 'lost/young', 'new')).rejects.toThrow('lost')
    await settleLost(await stores())
    expect((await trailOf('lost/young')).map(({ outcome }) => outcome)).toEqual(['allowed', 'allowed'])
    await settleLost(await later())
    expect((await trailOf('lost/young')).at(-1)?.outcome).toBe('failed')
  })
})

describe('what an isolate knows of secrets', () => {
  it('is asked of D1 no more once it is known, and anew after every change', async () => {
    const node = await enrolled('c-known')
    await put('known', 'one', '?allow-node=c-known')
    for (let i = 0; i < 3; i++) expect(await read(node, ['known'])).toEqual(['one'])
    // Behind the gateway's back: what is known does not see it, which shows that it is known.
    await env.DB.prepare(
      'UPDATE secrets SET policy = \'{"rules":[],"expires":null}\' WHERE name = \'known\'',
    ).run()
    expect(await read(node, ['known'])).toEqual(['one'])
    await put('known', 'two')
    expect(await refusedTo(node, 'known')).toBe('E_SECRET_DENIED')
    await changed(
      admin('PATCH', '/v1/secrets/known', { policy: { rules: [{ effect: 'allow', nodes: ['c-known'] }] } }),
    )
    for (let i = 0; i < 3; i++) expect(await read(node, ['known'])).toEqual(['two'])
    await admin('DELETE', '/v1/secrets/known')
    expect(await refusedTo(node, 'known')).toBe('E_SECRET_NOT_FOUND')
  })

  it('is not believed while a change is open, nor after the trail was away', async () => {
    const node = await enrolled('c-open')
    await put('open', 'one', '?allow-node=c-open')
    for (let i = 0; i < 3; i++) await read(node, ['open'])
    await expect(write({ db: failing(env.DB, 'after') }, 'open', 'two')).rejects.toThrow('lost')
    expect(await read(node, ['open'])).toEqual(['two'])
    await settleLost(await later())
    for (let i = 0; i < 3; i++) expect(await read(node, ['open'])).toEqual(['two'])
    await evictDurableObject(env.AUDIT_LOG.getByName(AUDIT_OBJECT))
    expect(await read(node, ['open'])).toEqual(['two'])
  })
})

describe('a change', () => {
  it('is told to the nodes that may read, and to no other', async () => {
    const [reader, other] = [await enrolled('c-reader'), await enrolled('c-other')]
    const [session, bystander] = [await reader.connect(), await other.connect()]
    await put('told', 'one', '?allow-node=c-reader')
    expect(await session.next('secret_changed')).toMatchObject({ name: 'told', version: 1 })
    await put('told', 'two')
    expect(await session.next('secret_changed')).toMatchObject({ name: 'told', version: 2 })
    bystander.send({ type: 'mesh_resync' })
    const heard: string[] = []
    while (heard.at(-1) !== 'mesh') heard.push(JSON.parse(String(await bystander.nextRaw())).type)
    expect(heard).not.toContain('secret_changed')
    session.close()
    bystander.close()
  })
})
