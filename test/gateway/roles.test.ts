/** Every route there is, with every credential there is: docs/protocol.md says who may, and a route that it does not name fails. */
import { exports } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { generateApiToken } from '../../crypto/api-token.ts'
import protocol from '../../docs/protocol.md?raw'
import { includesRole, Role } from '../../protocol/roles.ts'
import { app } from '../../worker/app.ts'
import { admin, apiKey, auditEntries, call, createToken, migrate, ORIGIN } from './support.ts'

/** Of a route for people the lowest role that may; of any other what it takes instead. */
type Taker = Role | 'anyone' | 'node' | 'join token'

/** `ALL` is middleware, not a route. */
const ROUTES = [
  ...new Set(
    app.routes.filter(({ method }) => method !== 'ALL').map(({ method, path }) => `${method} ${path}`),
  ),
]
const TAKERS = new Map(
  [...protocol.matchAll(/^\| `([A-Z]+ \/[^`]*)` \| ([a-z ]+?)(?:,[^|]*)? \|/gm)].map(
    ([, route = '', taker = '']) => [route.replaceAll('\\|', '|'), taker as Taker],
  ),
)
const forPeople = (route: string): boolean => Role.safeParse(TAKERS.get(route)).success

const keys = {} as Record<Role, string>

beforeAll(async () => {
  await migrate()
  for (const role of Role.options) keys[role] = await apiKey(`matrix-${role}`, role)
})

function send(route: string, authorization?: string): Promise<Response> {
  const [method = '', pattern = ''] = route.split(' ')
  const path = pattern.replaceAll(/:\w+(?:\{([^}]*)\})?|\*/g, (_, allowed = 'none') => exampleOf(allowed))
  return call(path, {
    method,
    headers: {
      ...(authorization !== undefined && { authorization }),
      ...(pattern === '/v1/session' && { upgrade: 'websocket' }),
    },
    ...(method !== 'GET' && { body: '{"request":"x"}' }),
  })
}

/** Of the pattern that a parameter must match: digits, or the first of several words. */
const exampleOf = (allowed: string): string =>
  /^(\[0-9]|\\d)/.test(allowed) ? '0' : (/^\w+/.exec(allowed)?.[0] ?? 'none')

async function answerOf(response: Response): Promise<{ status: number; code: unknown; detail: string }> {
  const text = await response.text()
  const problem = text.startsWith('{') ? (JSON.parse(text) as { code?: unknown; detail?: unknown }) : {}
  return { status: response.status, code: problem.code, detail: String(problem.detail ?? '') }
}

describe.each(ROUTES)('%s', (route) => {
  const taker = TAKERS.get(route)

  it('says in docs/protocol.md who may', () => {
    expect([...Role.options, 'anyone', 'node', 'join token']).toContain(taker)
  })

  if (!forPeople(route)) {
    if (taker === 'anyone' || taker === undefined) return
    it('takes no API token', async () => {
      for (const token of Object.values(keys)) expect((await send(route, `Bearer ${token}`)).status).toBe(401)
    })
    return
  }

  it('takes no request without a credential that it knows', async () => {
    for (const header of [undefined, `Basic ${keys.admin}`, keys.admin, `Claw ${keys.admin}`])
      expect(await answerOf(await send(route, header))).toMatchObject({
        status: 401,
        code: 'E_AUTH_REQUIRED',
      })
    const unknown = generateApiToken('clawkey')
    for (const token of [unknown, 'x', `${keys.admin}0`, keys.admin.toLowerCase(), await createToken()]) {
      const answer = await answerOf(await send(route, `Bearer ${token}`))
      expect(answer).toMatchObject({ status: 401, code: 'E_AUTH_INVALID' })
    }
  })

  it.each(Role.options)('for the role %s', async (role) => {
    const answer = await answerOf(await send(route, `Bearer ${keys[role]}`))
    if (includesRole(role, taker as Role)) {
      expect(answer.status).not.toBe(401)
      expect(answer.code).not.toBe('E_ROLE_DENIED')
      return
    }
    expect(answer).toMatchObject({ status: 403, code: 'E_ROLE_DENIED' })
    expect(answer.detail).toContain(`the role ${taker};`)
    const [entry] = await auditEntries(1)
    expect(entry).toMatchObject({ actor: `key:matrix-${role}`, action: 'api.request', outcome: 'denied' })
    expect(entry?.['target']).toMatch(new RegExp(`^${route.split(' ')[0]} /`))
  })
})

it('a path that is nothing asks for a credential or is not found, and does nothing', async () => {
  for (const path of [
    '/v1/api-keys/',
    '/v1//api-keys',
    '/V1/api-keys',
    '/v1/api-keys/x/y',
    '/v1/%61pi-keys',
  ]) {
    const response = await exports.default.fetch(new Request(ORIGIN + path, { method: 'POST', body: '{}' }))
    expect([401, 404]).toContain(response.status)
  }
  expect((await admin('GET', '/v1/whoami')).status).toBe(200)
})
