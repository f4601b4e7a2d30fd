/**
 * What clients reach of an embedded gateway: the Worker, over TLS, and nothing of the runtime around it. No header, path or odd byte of theirs
 * changes the URL that the gateway sees, has a credential taken for leaked, or runs what is Miniflare's.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect as connectPlain } from 'node:net'
import { join } from 'node:path'
import { type ConnectionOptions, connect, createServer } from 'node:tls'
import { CoreHeaders, CorePaths } from 'miniflare'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AdminClient } from '../../cli/admin-client.ts'
import { GatewayConnection, type GatewayRequest } from '../../host/gateway-connection.ts'
import { type GatewayUrl, parseGatewayUrl } from '../../host/gateway-url.ts'
import { REFUSALS_PER_PREFIX } from '../../protocol/limits.ts'
import { converse, statusesIn } from '../fuzz/raw-bytes.ts'
import { describeGateway, RawNode } from '../fuzz/raw-node.ts'
import { openGateway, type RunningGateway } from '../support/claw.ts'
import { listeningPorts } from '../support/listening-ports.ts'
import { openTemporaryDirectory } from '../support/temporary-directory.ts'

/** What a scheme, an address, a secret or an order to the runtime looks like, and what none of them does. */
const VALUES = [
  'http',
  'http, https',
  'http://localhost/healthz',
  'https://evil.test:1/v1/nodes',
  '/cdn-cgi/local/scheduled',
  '192.0.2.1',
  'clawbernetes-edge',
  'true',
  'GET',
  'null',
  '{}',
  '{"clientIp":"192.0.2.1:1","tlsVersion":"TLSv1","scheme":"http"}',
  '[[1,2],"x"]',
  '00'.repeat(16),
  '{',
  '%',
  '\u00ff',
  '',
] as const

/** As many as one credential may send in a moment, of all headers together. */
const VALUES_WITH_CREDENTIAL = VALUES.slice(0, 8)

/** Of proxies, and of Cloudflare's edge, whose word nobody else may speak. */
const PROXY_HEADERS = [
  'X-Forwarded-Proto',
  'X-Forwarded-Host',
  'X-Forwarded-For',
  'X-Forwarded-Port',
  'X-Forwarded-Scheme',
  'X-Forwarded-Ssl',
  'X-Url-Scheme',
  'X-Original-URL',
  'X-Rewrite-URL',
  'X-HTTP-Method-Override',
  'X-Real-IP',
  'Forwarded',
  'Front-End-Https',
  'Via',
  'True-Client-IP',
  'CF-Connecting-IP',
  'CF-Visitor',
  'CF-Worker',
  'CF-Ray',
  'CF-EW-Via',
  'CDN-Loop',
  'X-Mf-Additional-Response-Log',
] as const

let directory: { readonly path: string; remove(): void }
let gateway: RunningGateway
let url: GatewayUrl
let ca: string
let token: string
let connection: GatewayConnection
let admin: AdminClient
let node: RawNode
let log = ''

beforeAll(async () => {
  directory = openTemporaryDirectory()
  gateway = await openGateway(join(directory.path, 'gateway'))
  gateway.process.stderr?.on('data', (chunk) => {
    log += chunk
  })
  url = parseGatewayUrl(gateway.url)
  ca = readFileSync(gateway.ca, 'utf8')
  token = readFileSync(gateway.adminTokenFile, 'utf8').trim()
  connection = new GatewayConnection({ url, ca })
  admin = new AdminClient(connection, token)
  const served = readFileSync(join(directory.path, 'gateway', 'server.pem'), 'utf8')
  node = await RawNode.make(describeGateway(connection, served), 'one')
  await node.enrol((await admin.createToken({ uses: 1 })).token)
})

afterAll(async () => {
  connection?.close()
  await gateway?.dispose()
  directory?.remove()
})

/** Whatever was tried: nothing was taken for leaked, and what the tests hold still works. */
async function expectNothingLeaked(): Promise<void> {
  expect(log).not.toContain('credential_leaked')
  expect((await admin.nodes()).map(({ name }) => name)).toEqual(['one'])
}

/** An answer without what differs between any two. */
async function answerTo(request: GatewayRequest) {
  const { status, headers, body } = await connection.request(request)
  const { date, 'claw-request': id, 'content-length': length, ...others } = headers
  const text = Buffer.from(body).toString('utf8')
  return { status, headers: others, body: text.replace(/"(requestId|time)":("[^"]*"|\d+)/g, '"$1":0') }
}

describe('a header of a client', () => {
  const names = [...Object.values(CoreHeaders), ...PROXY_HEADERS]

  test('is one that Miniflare believes', () => {
    // Else the next test would prove nothing of a Miniflare that has renamed them.
    for (const known of ['MF-Original-URL', 'MF-CF-Blob', 'MF-Route-Override', 'MF-Proxy-Shared-Secret'])
      expect(names).toContain(known)
  })

  test.for(names)('%s changes no answer, whatever its value', async (name) => {
    const authorization = `Bearer ${token}`
    const requests: readonly (GatewayRequest & { readonly values: readonly string[] })[] = [
      { method: 'GET', path: '/healthz', values: VALUES },
      { method: 'GET', path: '/v1/nodes', values: VALUES },
      { method: 'POST', path: '/v1/enrol', body: '{', values: VALUES },
      { method: 'GET', path: '/v1/nodes', headers: { authorization }, values: VALUES_WITH_CREDENTIAL },
    ]
    for (const { values, ...request } of requests) {
      const plain = await answerTo(request)
      const spoiled = await Promise.all(
        values.map(async (value) => {
          const answer = await answerTo({ ...request, headers: { ...request.headers, [name]: value } })
          return { value, ...answer }
        }),
      )
      expect(spoiled).toEqual(values.map((value) => ({ value, ...plain })))
    }
  })

  test('has no proof of a node used up, in a request or in an upgrade', async () => {
    const headers = {
      'x-forwarded-proto': 'http',
      'mf-original-url': `http://${url.host}:${url.port}/v1/session`,
      'cf-visitor': '{"scheme":"http"}',
    }
    const authorization = await node.authorization('POST', '/v1/node/secrets', '{"names":[]}')
    const { status } = await connection.request({
      method: 'POST',
      path: '/v1/node/secrets',
      headers: { ...headers, authorization },
      body: '{"names":[]}',
    })
    expect(status).toBe(400)
    const socket = connection.webSocket('/v1/session', {
      ...headers,
      authorization: await node.authorization('GET', '/v1/session', ''),
    })
    await once(socket, 'open')
    socket.terminate()
    await expectNothingLeaked()
  })

  test('names no other address: who guesses is slowed, and nobody else', async () => {
    const guesses = await Promise.all(
      Array.from({ length: REFUSALS_PER_PREFIX.burst + 20 }, async (_, index) => {
        const headers = { authorization: `Bearer claw_${index}`, 'cf-connecting-ip': `192.0.${index}.1` }
        return (await connection.request({ method: 'GET', path: '/v1/nodes', headers })).status
      }),
    )
    expect(new Set(guesses)).toEqual(new Set([401, 429]))
    await expectNothingLeaked()
  })

  test('all of them at once change nothing either', async () => {
    const headers = Object.fromEntries(names.map((name) => [name, 'http']))
    expect(await answerTo({ method: 'GET', path: '/healthz', headers })).toEqual(
      await answerTo({ method: 'GET', path: '/healthz' }),
    )
    await expectNothingLeaked()
  })
})

describe("a path of the runtime's", () => {
  test.for([
    ...Object.values(CorePaths),
    '/cdn-cgi/',
    '/cdn-cgi/trace',
    '/cdn-cgi/handler/scheduled',
    '/__scheduled',
  ])('%s is nothing here', async (path) => {
    for (const method of ['GET', 'POST']) {
      for (const query of ['', '?cron=*+*+*+*+*&time=1']) {
        const headers = { 'mf-op': 'GET', 'mf-op-target': '[["Env",0]]', 'mf-op-secret': '00'.repeat(16) }
        const answer = await answerTo({ method, path: path + query, headers })
        expect(answer).toMatchObject({ status: 404, body: expect.stringContaining('"E_NOT_FOUND"') })
      }
    }
  })
})

describe('bytes that no HTTP client sends', () => {
  const close = 'connection: close\r\n\r\n'
  const authority = () => `${url.host}:${url.port}`
  const say = async (text: string): Promise<string> =>
    converse(url, ca, Buffer.from(text.replaceAll('AUTHORITY', authority()), 'latin1'))

  test.for([
    ['two hosts', `GET /healthz HTTP/1.1\r\nhost: AUTHORITY\r\nhost: evil.test\r\n${close}`],
    ['a host with a path', `GET /healthz HTTP/1.1\r\nhost: AUTHORITY/v1/nodes?\r\n${close}`],
    ['a host with a fragment', `GET /healthz HTTP/1.1\r\nhost: AUTHORITY#\r\n${close}`],
    ['a host with a user', `GET /healthz HTTP/1.1\r\nhost: evil@AUTHORITY\r\n${close}`],
    ['a host with a space', `GET /healthz HTTP/1.1\r\nhost: a b\r\n${close}`],
    ['a host with a scheme', `GET /healthz HTTP/1.1\r\nhost: http://AUTHORITY\r\n${close}`],
    ['a port that is none', `GET /healthz HTTP/1.1\r\nhost: localhost:99999\r\n${close}`],
    ['half an IPv6 address', `GET /healthz HTTP/1.1\r\nhost: [::\r\n${close}`],
    ['an empty host', `GET /healthz HTTP/1.1\r\nhost: \r\n${close}`],
    ['no host', `GET /healthz HTTP/1.1\r\n${close}`],
    ['HTTP/1.0 without a host', 'GET /healthz HTTP/1.0\r\n\r\n'],
    ['no path', `OPTIONS * HTTP/1.1\r\nhost: AUTHORITY\r\n${close}`],
  ] as const)('%s: 400', async ([, text]) => {
    expect(statusesIn(await say(text))).toEqual([400])
  })

  test('a target with http:// is for the path it names, over TLS as it came', async () => {
    const authorization = `authorization: Bearer ${token}\r\n`
    const target = `GET http://AUTHORITY/v1/nodes HTTP/1.1\r\nhost: AUTHORITY\r\n${authorization}${close}`
    expect(statusesIn(await say(target))).toEqual([200])
    await expectNothingLeaked()
  })

  test.for([
    [
      'CONNECT to the runtime',
      `CONNECT ${'miniflare-unsafe-internal-capnp-connect'} HTTP/1.1\r\nhost: x\r\n\r\n`,
    ],
    ['CONNECT to elsewhere', 'CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: 127.0.0.1:22\r\n\r\n'],
    ['a method nobody knows', `FOO / HTTP/1.1\r\nhost: AUTHORITY\r\n${close}`],
  ] as const)('%s: refused by the runtime', async ([, text]) => {
    const [status, ...more] = statusesIn(await say(text))
    expect(status).toBeGreaterThanOrEqual(400)
    expect(more).toEqual([])
  })

  test('TRACE shows no credential', async () => {
    const answer = await say(
      `TRACE / HTTP/1.1\r\nhost: AUTHORITY\r\nauthorization: Bearer ${token}\r\n${close}`,
    )
    expect(statusesIn(answer)).toEqual([404])
    expect(answer).not.toContain(token)
  })

  test('two lengths of one body: what follows is never taken for a request of somebody else', async () => {
    const hidden = `GET /v1/nodes HTTP/1.1\r\nhost: AUTHORITY\r\n${close}`
    const answers = await Promise.all(
      [
        `content-length: 0\r\ncontent-length: ${hidden.length}\r\n\r\n${hidden}`,
        `content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`,
        `transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n${hidden}`,
        `transfer-encoding: xchunked\r\ncontent-length: ${hidden.length}\r\n\r\n${hidden}`,
        `transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n${hidden}`,
        `transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`,
        `transfer-encoding : chunked\r\n\r\n0\r\n\r\n${hidden}`,
        `content-length: +5\r\n\r\n${hidden}`,
      ].map((rest) => say(`POST /v1/enrol HTTP/1.1\r\nhost: AUTHORITY\r\n${rest}`)),
    )
    for (const answer of answers) {
      const statuses = statusesIn(answer)
      expect(statuses.length).toBeGreaterThan(0)
      // Of a stranger either way: the body is invalid, or the request behind it has no credential.
      for (const status of statuses) expect([400, 401]).toContain(status)
    }
    // The next one on a connection of its own gets its own answer.
    expect((await answerTo({ method: 'GET', path: '/healthz' })).status).toBe(200)
    await expectNothingLeaked()
  })

  test.for(['h2c', 'TLS/1.0', 'nonsense'])('an upgrade to %s is not done', async (protocol) => {
    const settings = 'connection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n'
    const text = `GET /healthz HTTP/1.1\r\nhost: AUTHORITY\r\nupgrade: ${protocol}\r\n${settings}\r\n`
    expect(statusesIn(await say(text))).toEqual([200])
  })
})

describe('the socket', () => {
  const socketTo = async (options: ConnectionOptions) => {
    const socket = connect({ host: url.host, port: url.port, ca, servername: 'localhost', ...options })
    try {
      await once(socket, 'secureConnect')
      return { protocol: socket.getProtocol(), alpn: socket.alpnProtocol }
    } catch (error) {
      return error instanceof Error && 'code' in error ? error.code : error
    } finally {
      socket.destroy()
    }
  }

  test.for(['TLSv1', 'TLSv1.1'] as const)('does not speak %s, with a client that does', async (version) => {
    // At its usual level the client's own library would refuse first.
    const old = { minVersion: version, maxVersion: version, ciphers: 'DEFAULT:@SECLEVEL=0' }
    const files = join(directory.path, 'gateway')
    const server = createServer({
      ...old,
      key: readFileSync(join(files, 'server.key')),
      cert: readFileSync(join(files, 'server.pem')),
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as AddressInfo
    expect(await socketTo({ ...old, port })).toMatchObject({ protocol: version })
    server.close()
    expect(await socketTo(old)).toMatch(/^ERR_SSL_.*_ALERT_/)
  })

  test.for(['TLSv1.2', 'TLSv1.3'] as const)('speaks %s', async (version) => {
    const one = { minVersion: version, maxVersion: version }
    expect(await socketTo(one)).toMatchObject({ protocol: version })
  })

  test('offers no HTTP/2, and does not understand it either', async () => {
    expect(await socketTo({ ALPNProtocols: ['h2', 'http/1.1'] })).toMatchObject({ alpn: false })
    const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0'
    const answer = await converse(url, ca, Buffer.from(preface, 'latin1'))
    expect(statusesIn(answer).filter((status) => status < 400)).toEqual([])
  })

  test('answers plain HTTP with nothing that an application says, and revokes nothing it cannot read', async () => {
    const socket = connectPlain({ host: url.host, port: url.port })
    await once(socket, 'connect')
    let answer = Buffer.alloc(0)
    socket.on('data', (chunk) => {
      answer = Buffer.concat([answer, chunk])
    })
    socket.on('error', () => {})
    socket.write(`GET /v1/nodes HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${token}\r\n\r\n`)
    await once(socket, 'close')
    // At most an alert record of TLS (RFC 8446, section 5.1).
    expect([undefined, 21]).toContain(answer[0])
    expect(answer.length).toBeLessThan(16)
    await expectNothingLeaked()
  })
})

describe("Miniflare's own entry", () => {
  test('is on loopback, with TLS, and leads to nothing', async () => {
    const run = JSON.parse(readFileSync(join(directory.path, 'gateway', 'run.json'), 'utf8'))
    const ports = listeningPorts(run.workerd.pid).filter(({ port }) => port !== url.port)
    expect(ports).toEqual([{ address: '127.0.0.1', port: expect.any(Number) }])
    const entry = { ...url, host: '127.0.0.1', port: ports[0]?.port ?? 0 } as GatewayUrl
    for (const header of [
      'x: y',
      'mf-route-override: clawbernetes-edge',
      'mf-original-url: https://localhost/healthz',
      'x-forwarded-proto: http',
      'mf-disable-pretty-error: true',
    ]) {
      for (const path of [
        '/healthz',
        '/v1/nodes',
        CorePaths.SCHEDULED,
        CorePaths.EXPLORER,
        CorePaths.EMAIL,
      ]) {
        const authorization = `authorization: Bearer ${token}`
        const request = `GET ${path} HTTP/1.1\r\nhost: localhost\r\n${header}\r\n${authorization}\r\nconnection: close\r\n\r\n`
        const answer = await converse(entry, ca, Buffer.from(request))
        expect([header, path, statusesIn(answer)]).toEqual([header, path, [404]])
        expect(answer).toContain('"E_NOT_FOUND"')
      }
    }
    const proxy = `GET ${CorePaths.PLATFORM_PROXY} HTTP/1.1\r\nhost: localhost\r\nmf-op: GET\r\nmf-op-secret: ${'00'.repeat(16)}\r\nconnection: close\r\n\r\n`
    expect(statusesIn(await converse(entry, ca, Buffer.from(proxy)))).toEqual([401])
    await expectNothingLeaked()
  })
})
