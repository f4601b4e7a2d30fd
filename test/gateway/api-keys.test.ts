import { createExecutionContext } from 'cloudflare:test'
import { env, exports } from 'cloudflare:workers'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { generateApiToken, hashApiToken } from '../../crypto/api-token.ts'
import { ApiKeyCreateReply, type ApiKeyItem, ApiKeyList, WhoamiReply } from '../../protocol/api-keys.ts'
import { REQUESTS_PER_CREDENTIAL } from '../../protocol/limits.ts'
import { Role } from '../../protocol/roles.ts'
import { app } from '../../worker/app.ts'
import { admin, apiKey, auditEntries, createToken, migrate, ORIGIN, refusalOf, withToken } from './support.ts'

beforeAll(migrate)
beforeEach(async () => {
  await env.DB.prepare('DELETE FROM api_keys').run()
})

afterEach(() => vi.useRealTimers())

const DAY = 86_400_000

const make = (token: string, body: object) => withToken(token, 'POST', '/v1/api-keys', body)
const whoami = async (token: string) =>
  WhoamiReply.parse(await (await withToken(token, 'GET', '/v1/whoami')).json())
const refused = async (token: string, path = '/v1/whoami') =>
  (await refusalOf(await withToken(token, 'GET', path))).code
const revoke = (name: string) => admin('DELETE', `/v1/api-keys/${name}`)
const endAt = (name: string, at: number) =>
  env.DB.prepare('UPDATE api_keys SET expires_at = ? WHERE name = ?').bind(at, name).run()

async function list(query = ''): Promise<ApiKeyItem[]> {
  return ApiKeyList.parse(await (await admin('GET', `/v1/api-keys${query}`)).json()).items
}

describe('an API key', () => {
  it('is told once, is who it says it is, and is kept as a hash only', async () => {
    const reply = await make(env.TEST_ADMIN_TOKEN, { name: 'ci', role: 'operator', ttlMs: DAY })
    expect(reply.status).toBe(201)
    const { token, key } = ApiKeyCreateReply.parse(await reply.json())
    expect(key).toMatchObject({ name: 'ci', role: 'operator', status: 'valid', createdBy: 'admin:root' })
    expect(await whoami(token)).toEqual({ actor: 'key:ci', role: 'operator', expiresAt: key.expiresAt })
    expect(await list()).toEqual([key])
    const { results } = await env.DB.prepare('SELECT * FROM api_keys').all()
    expect(results[0]).toMatchObject({ hash: hashApiToken(token), role: 'operator' })
    expect(JSON.stringify(results)).not.toContain(token.slice('clawkey_'.length, -6))
  })

  it('without an end has none, and the root token is an administrator', async () => {
    expect(await whoami(await apiKey('for-ever', 'viewer'))).toMatchObject({ expiresAt: null })
    expect(await whoami(env.TEST_ADMIN_TOKEN)).toEqual({
      actor: 'admin:root',
      role: 'admin',
      expiresAt: null,
    })
  })

  it('is refused from the request after its revocation, and the trail tells of both', async () => {
    const token = await apiKey('old', 'operator')
    const [key] = await list()
    expect((await withToken(token, 'GET', '/v1/nodes')).status).toBe(200)
    expect((await revoke('old')).status).toBe(204)
    expect(await refusalOf(await withToken(token, 'GET', '/v1/nodes'))).toEqual({
      status: 401,
      code: 'E_AUTH_REVOKED',
    })
    expect(await list()).toMatchObject([{ status: 'revoked', revokedAt: expect.any(String) }])
    const [, use, revocation] = await auditEntries(3)
    expect(use).toMatchObject({ actor: 'key:old', target: 'GET /v1/nodes', outcome: 'denied' })
    expect(use?.['reason']).toBe(`E_AUTH_REVOKED: key ${key?.id}`)
    expect(revocation).toMatchObject({
      actor: 'admin:root',
      action: 'api_key.revoke',
      target: 'api-key:old',
      detail: { id: key?.id, role: 'operator' },
    })
  })

  it('is refused once it has ended, to the millisecond', async () => {
    const token = await apiKey('brief', 'viewer', DAY)
    await endAt('brief', Date.now() + DAY)
    expect((await whoami(token)).actor).toBe('key:brief')
    await endAt('brief', Date.now())
    expect(await refused(token)).toBe('E_AUTH_EXPIRED')
    expect(await list()).toMatchObject([{ status: 'expired' }])
    expect((await auditEntries(2))[1]).toMatchObject({ actor: 'key:brief', outcome: 'denied' })
  })

  it('gives its name up when it is revoked or has ended, and stays refused beside its successor', async () => {
    const revoked = await apiKey('deploy', 'operator')
    await revoke('deploy')
    const ended = await apiKey('deploy', 'viewer', DAY)
    await endAt('deploy', Date.now())
    const current = await apiKey('deploy', 'admin')
    expect(await whoami(current)).toMatchObject({ actor: 'key:deploy', role: 'admin' })
    expect(await refused(revoked)).toBe('E_AUTH_REVOKED')
    expect(await refused(ended)).toBe('E_AUTH_EXPIRED')
    expect((await list()).map(({ status }) => status).sort()).toEqual(['expired', 'revoked', 'valid'])
  })

  it('has its name to itself, however many ask at once', async () => {
    const replies = await Promise.all(
      Array.from({ length: 8 }, () => make(env.TEST_ADMIN_TOKEN, { name: 'one', role: 'viewer' })),
    )
    expect(replies.filter(({ status }) => status === 201)).toHaveLength(1)
    for (const reply of replies.filter(({ status }) => status !== 201))
      expect(await refusalOf(reply)).toEqual({ status: 409, code: 'E_API_KEY_NAME_TAKEN' })
    expect(await list()).toHaveLength(1)
    const taken = await auditEntries(20)
    expect(taken.filter(({ reason }) => reason === 'E_API_KEY_NAME_TAKEN')).toHaveLength(7)
  })

  it('is listed in pages, revoked ones too', async () => {
    for (const name of ['a', 'b', 'b', 'c']) {
      await revoke(name)
      await apiKey(name, 'viewer')
    }
    const first = ApiKeyList.parse(await (await admin('GET', '/v1/api-keys?limit=2')).json())
    const second = await list(`?limit=2&cursor=${first.next}`)
    expect([...first.items, ...second].map(({ name }) => name)).toEqual(['a', 'b', 'b', 'c'])
    expect(new Set([...first.items, ...second].map(({ id }) => id)).size).toBe(4)
  })

  it('is not made, nor ended, unless the trail has it', async () => {
    const token = await apiKey('kept', 'viewer')
    const broken = {
      ...env,
      AUDIT_LOG: { getByName: () => ({ append: () => Promise.reject(new Error('down')) }) },
    }
    const send = (method: string, path: string, body?: string) =>
      app.fetch(
        new Request(ORIGIN + path, {
          method,
          headers: { authorization: `Bearer ${env.TEST_ADMIN_TOKEN}` },
          ...(body !== undefined && { body }),
        }),
        broken,
        createExecutionContext(),
      )
    expect((await send('POST', '/v1/api-keys', '{"name":"ghost","role":"viewer"}')).status).toBe(500)
    expect((await send('DELETE', '/v1/api-keys/kept')).status).toBe(500)
    expect((await whoami(token)).actor).toBe('key:kept')
    expect((await list()).map(({ name }) => name)).toEqual(['kept'])
  })
})

describe('nobody rises above their role', () => {
  it.each(['viewer', 'operator'] as const)('a key of the role %s makes and ends no key', async (role) => {
    const token = await apiKey('climber', role)
    for (const wanted of Role.options)
      expect((await refusalOf(await make(token, { name: 'new', role: wanted }))).code).toBe('E_ROLE_DENIED')
    const ended = await withToken(token, 'DELETE', '/v1/api-keys/climber')
    expect(await refusalOf(ended)).toEqual({ status: 403, code: 'E_ROLE_DENIED' })
    expect(await refused(token, '/v1/api-keys')).toBe('E_ROLE_DENIED')
    expect(await list()).toHaveLength(1)
  })

  it('takes no field and no role that there is not', async () => {
    for (const body of [
      { name: 'x', role: 'root' },
      { name: 'x', role: 'node' },
      { name: 'x', role: 'Admin' },
      { name: 'x', role: ['viewer', 'admin'] },
      { name: 'x', role: null },
      { name: 'x' },
      { role: 'viewer' },
      { name: 'admin:root', role: 'viewer' },
      { name: '../x', role: 'viewer' },
      { name: 'x', role: 'viewer', hash: hashApiToken('x') },
      { name: 'x', role: 'viewer', created_by: 'admin:root' },
      { name: 'x', role: 'viewer', ttlMs: 0 },
      { name: 'x', role: 'viewer', ttlMs: -1 },
      { name: 'x', role: 'viewer', ttlMs: 1e300 },
    ]) {
      const refusal = await refusalOf(await make(env.TEST_ADMIN_TOKEN, body))
      expect(refusal, JSON.stringify(body)).toEqual({ status: 400, code: 'E_BODY_INVALID' })
    }
    expect(await list()).toEqual([])
    const insert =
      "INSERT INTO api_keys (id, name, role, hash, created_at, created_by) VALUES ('i', 'n', 'root', 'h', 1, 'x')"
    await expect(env.DB.prepare(insert).run()).rejects.toThrow('CHECK')
  })

  it('a key that ends makes none that outlives it', async () => {
    const token = await apiKey('hour', 'admin', DAY)
    for (const ttlMs of [undefined, 2 * DAY]) {
      const reply = await make(token, { name: 'heir', role: 'viewer', ttlMs })
      expect(await refusalOf(reply)).toEqual({ status: 403, code: 'E_API_KEY_TTL' })
    }
    const heir = await make(token, { name: 'heir', role: 'admin', ttlMs: DAY / 2 })
    expect(ApiKeyCreateReply.parse(await heir.json()).key.createdBy).toBe('key:hour')
  })

  it('the root token has no name to be revoked by', async () => {
    for (const name of ['admin:root', 'root', 'admin%3Aroot', 'nobody'])
      expect(await refusalOf(await revoke(name))).toEqual({ status: 404, code: 'E_API_KEY_NOT_FOUND' })
    expect((await admin('GET', '/v1/whoami')).status).toBe(200)
  })

  it('a key named like the root token is not it', async () => {
    const token = await apiKey('root', 'viewer')
    expect(await whoami(token)).toMatchObject({ actor: 'key:root', role: 'viewer' })
    expect(await refused(token, '/v1/api-keys')).toBe('E_ROLE_DENIED')
  })
})

describe('an API key and the limits', () => {
  it('one that is used too often slows no other', async () => {
    const [busy, calm] = [await apiKey('busy', 'viewer'), await apiKey('calm', 'viewer')]
    // A clock that stands still gives nothing back, however slow the machine.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() })
    const codes: unknown[] = []
    for (let sent = 0; sent < REQUESTS_PER_CREDENTIAL.burst + 50; sent += 50) {
      const asked = Array.from({ length: 50 }, () => withToken(busy, 'GET', '/v1/whoami'))
      for (const reply of await Promise.all(asked)) codes.push((await refusalOf(reply)).code)
    }
    expect(codes.filter((code) => code === 'E_RATE_LIMITED')).toHaveLength(50)
    expect((await whoami(calm)).actor).toBe('key:calm')
  })
})

describe('an API key that came over plain HTTP', () => {
  const plain = (authorization: string) =>
    exports.default.fetch(new Request('http://gateway.test/v1/nodes', { headers: { authorization } }))

  it('is revoked, and the trail says so once', async () => {
    const token = await apiKey('loud', 'operator')
    const other = await apiKey('quiet', 'operator')
    for (let sent = 0; sent < 2; sent++) {
      const problem = await (await plain(`Bearer ${token}`)).json()
      expect(problem).toMatchObject({ code: 'E_PLAINTEXT', detail: expect.stringContaining('revoked') })
    }
    expect(await refused(token)).toBe('E_AUTH_REVOKED')
    expect((await whoami(other)).actor).toBe('key:quiet')
    const leaks = (await auditEntries(10)).filter(({ target }) => target === 'api-key:loud')
    expect(leaks.filter(({ action }) => action === 'credential.leaked')).toHaveLength(1)
  })

  it('is left alone when it is only made to look like one', async () => {
    const token = await apiKey('safe', 'operator')
    const mistyped = token.slice(0, -1) + (token.endsWith('x') ? 'y' : 'x')
    for (const guess of [mistyped, generateApiToken('clawkey'), (await createToken()).slice(0, -2)]) {
      expect(await (await plain(`Bearer ${guess}`)).json()).not.toHaveProperty('detail')
    }
    expect((await whoami(token)).actor).toBe('key:safe')
  })
})
