import { createExecutionContext } from 'cloudflare:test'
import { env, exports } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { app } from '../../worker/app.ts'
import { admin, call, migrate, refusalOf } from './support.ts'

beforeAll(migrate)

describe('the edge', () => {
  it('answers plain HTTP with an error on every route, upgrades included, and does nothing else', async () => {
    const before = await env.DB.prepare('SELECT COUNT(*) AS n FROM join_tokens').first('n')
    for (const [method, path] of [
      ['GET', '/healthz'],
      ['POST', '/v1/enrol'],
      ['GET', '/v1/session'],
      ['POST', '/v1/tokens'],
      ['GET', '/metrics'],
      ['GET', '/no/such'],
    ] as const) {
      const response = await exports.default.fetch(
        new Request(`http://gateway.test${path}`, {
          method,
          headers: path === '/v1/session' ? { upgrade: 'websocket' } : {},
        }),
      )
      expect(response.headers.get('content-type')).toBe('application/problem+json')
      expect(response.webSocket).toBeNull()
      expect(await refusalOf(response)).toEqual({ status: 426, code: 'E_PLAINTEXT' })
    }
    expect(await env.DB.prepare('SELECT COUNT(*) AS n FROM join_tokens').first('n')).toBe(before)
  })

  it('sends problem details with a request id, the time, and HSTS', async () => {
    const response = await call('/no/such')
    const problem = (await response.json()) as Record<string, unknown>
    expect(problem).toMatchObject({
      status: 404,
      code: 'E_NOT_FOUND',
      requestId: expect.stringMatching(/^req_/),
    })
    expect(Math.abs(Date.now() - Number(problem['time']))).toBeLessThan(60_000)
    expect(response.headers.get('strict-transport-security')).toContain('max-age=')
    expect(response.headers.get('claw-request')).toBe(problem['requestId'])
  })

  it('wants the admin token on every administrative route', async () => {
    for (const path of ['/v1/tokens', '/v1/nodes', '/v1/secrets', '/v1/audit', '/metrics']) {
      expect(await refusalOf(await call(path))).toEqual({ status: 401, code: 'E_AUTH_REQUIRED' })
      const wrong = { headers: { authorization: 'Bearer claw_0000000000000000000000000000000' } }
      expect(await refusalOf(await call(path, wrong))).toEqual({ status: 401, code: 'E_AUTH_INVALID' })
      expect((await admin('GET', path)).status).toBe(200)
    }
  })

  it('answers 503 while a binding or secret is missing or malformed, on every route', async () => {
    for (const broken of [
      { MASTER_KEYRING: undefined },
      { MASTER_KEYRING: '{"active":2,"keys":{}}' },
      { ADMIN_TOKEN_HASH: '' },
      { GATEWAY_SIGNING_KEY: '{}' },
      { GATEWAY_ORIGINS: 'http://gateway.test' },
      { FLEET_CIDR: '10.100.0.1/16' },
      { SESSION_SHARDS: '0' },
      { STUN_SERVERS: 'stun.test' },
      { DB: undefined },
    ]) {
      const response = await app.fetch(
        new Request('https://gateway.test/healthz'),
        { ...env, ...broken },
        createExecutionContext(),
      )
      const text = await response.text()
      expect(response.status).toBe(503)
      expect(JSON.parse(text)).toMatchObject({ code: 'E_NOT_CONFIGURED' })
      expect(text).not.toContain(Object.keys(broken)[0])
    }
  })

  it('refuses bodies over the limit, whatever Content-Length says', async () => {
    const response = await admin('POST', '/v1/tokens', new Uint8Array(70_000))
    expect(await refusalOf(response)).toEqual({ status: 413, code: 'E_BODY_TOO_LARGE' })
  })
})
