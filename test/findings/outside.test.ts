/** The running gateway from outside, where it has no reason to be kind: what its refusals say, and who can hold it up. */
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect as connectTcp, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AdminClient } from '../../cli/admin-client.ts'
import { GatewayConnection } from '../../host/gateway-connection.ts'
import { type GatewayUrl, parseGatewayUrl } from '../../host/gateway-url.ts'
import { REGISTER_TIMEOUT_MS } from '../../protocol/limits.ts'
import { PROTOCOL_VERSION } from '../../protocol/version.ts'
import { Bystander } from '../fuzz/bystander.ts'
import { exchange } from '../fuzz/raw-bytes.ts'
import { describeGateway, RawNode } from '../fuzz/raw-node.ts'
import { openGateway, type RunningGateway } from '../support/claw.ts'

let home: string
let running: RunningGateway
let url: GatewayUrl
let ca: string
let connection: GatewayConnection
let admin: AdminClient
let token: string
let log = ''

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'claw-outside-'))
  running = await openGateway(join(home, 'gateway'))
  running.process.stderr?.on('data', (chunk) => {
    log += chunk
  })
  url = parseGatewayUrl(running.url)
  ca = readFileSync(running.ca, 'utf8')
  connection = new GatewayConnection({ url, ca })
  token = readFileSync(running.adminTokenFile, 'utf8').trim()
  admin = new AdminClient(connection, token)
})
afterAll(async () => {
  connection.close()
  await running.dispose()
  rmSync(home, { recursive: true, force: true })
})

const gateway = () => describeGateway(connection, readFileSync(join(home, 'gateway/server.pem'), 'utf8'))

async function enrolled(name: string): Promise<RawNode> {
  const node = await RawNode.make(gateway(), name)
  await node.enrol((await admin.createToken({ uses: 1 })).token)
  return node
}

describe('a refusal', () => {
  const canary = 'canary-5d1e'
  /** What an error must never hold: the request, a stack, a path of this machine, SQL, the name of a setting. */
  const FORBIDDEN = new RegExp(
    [
      canary,
      ' at .*[(/].*:\\d+',
      '\\.ts\\b',
      '/work|/home|/tmp|/root',
      'node_modules',
      'SELECT|INSERT|UPDATE |SQLITE',
      'MASTER_KEYRING|ADMIN_TOKEN|GATEWAY_|FLEET_CIDR',
    ].join('|'),
  )

  test('repeats nothing of the request and tells nothing of the inside, whatever was wrong (M3.6)', async () => {
    const authorization = `Bearer ${token}`
    const node = await enrolled('refused')
    const asNode = async (path: string, body: string) => ({
      authorization: await node.authorization('POST', path, body),
    })
    const secrets = JSON.stringify({ names: [`${canary} '; DROP`] })
    const identity = JSON.stringify({ request: `${canary}.x.y`, [canary]: 1 })
    const requests = [
      { method: 'GET', path: `/${canary}` },
      { method: 'GET', path: `/v1/nodes/${canary}.%00`, headers: { authorization } },
      { method: 'GET', path: `/v1/nodes?cursor=${canary}!&limit=${canary}`, headers: { authorization } },
      {
        method: 'GET',
        path: `/v1/audit?cursor=${Buffer.from(canary).toString('base64url')}`,
        headers: { authorization },
      },
      { method: 'GET', path: '/v1/nodes', headers: { authorization: `Bearer ${canary}` } },
      {
        method: 'POST',
        path: '/v1/enrol',
        headers: { authorization: `Bearer ${canary}` },
        body: `{"request":"${canary}"}`,
      },
      { method: 'POST', path: '/v1/enrol', headers: { authorization: 'Bearer x' }, body: canary },
      { method: 'POST', path: '/v1/tokens', headers: { authorization }, body: `{"uses":"${canary}"}` },
      { method: 'POST', path: '/v1/tokens', headers: { authorization }, body: `{"uses":1,${canary}` },
      { method: 'PUT', path: `/v1/secrets/UPPER${canary}`, headers: { authorization }, body: canary },
      { method: 'PUT', path: `/v1/secrets/a?allow-tag=${canary}!`, headers: { authorization }, body: canary },
      {
        method: 'POST',
        path: '/v1/secrets/a/read',
        headers: { authorization },
        body: `{"sealTo":"${canary}"}`,
      },
      { method: 'DELETE', path: `/v1/tokens/${canary}`, headers: { authorization } },
      { method: 'POST', path: '/v1/node/secrets', headers: { authorization: `Claw ${canary}` }, body: '{}' },
      {
        method: 'POST',
        path: '/v1/node/secrets',
        headers: await asNode('/v1/node/secrets', secrets),
        body: secrets,
      },
      {
        method: 'POST',
        path: '/v1/node/identity',
        headers: await asNode('/v1/node/identity', identity),
        body: identity,
      },
      {
        method: 'GET',
        path: '/v1/session',
        headers: { authorization: `Claw ${canary}`, 'x-canary': canary },
      },
    ]
    for (const request of requests) {
      const { status, headers, body } = await connection.request(request)
      const text = Buffer.from(body).toString()
      expect([request.path, status >= 400 && status < 500]).toEqual([request.path, true])
      expect(headers['content-type']).toBe('application/problem+json')
      expect(JSON.parse(text)).toMatchObject({ status, code: expect.stringMatching(/^E_/) })
      expect(text).not.toMatch(FORBIDDEN)
      expect(JSON.stringify(headers)).not.toMatch(FORBIDDEN)
    }
    expect(log).not.toContain(canary)
  })
})

test('a body that is chunked, and so says nothing of its length, is cut off at the limit all the same (X3)', async () => {
  const chunk = 'x'.repeat(16_384)
  const chunks = Array.from({ length: 8 }, () => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('')
  const head = `POST /v1/tokens HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${token}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n`
  expect(await exchange(url, ca, Buffer.from(`${head}${chunks}0\r\n\r\n`))).toEqual([413])
})

describe('a peer that is slow or silent (X4)', () => {
  const opened: Socket[] = []
  afterAll(() => {
    for (const socket of opened) socket.destroy()
  })

  const dial = () =>
    new Promise<TLSSocket>((resolve, reject) => {
      const socket = connect({ host: url.host, port: url.port, ca, servername: 'localhost' }, () =>
        resolve(socket),
      )
      socket.once('error', reject)
      opened.push(socket)
    })

  test('holds nobody else up: not by the hundred, in the handshake, in a header, in a body or before its first frame', async () => {
    const quiet = await Bystander.connect(await enrolled('quiet'))
    for (let i = 0; i < 150; i++) {
      const tcp = connectTcp(url.port, url.host).on('error', () => {})
      opened.push(tcp)
    }
    for (let i = 0; i < 150; i++) (await dial()).write('GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ')
    for (let i = 0; i < 50; i++)
      (await dial()).write(
        'POST /v1/enrol HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer x\r\ncontent-length: 60000\r\n\r\n{',
      )
    for (let i = 0; i < 8; i++) {
      const { socket } = await (await enrolled(`idler-${i}`)).dial()
      socket.on('error', () => {})
      await once(socket, 'open')
    }

    const begun = performance.now()
    const newcomer = await Bystander.connect(await enrolled('newcomer'))
    expect(performance.now() - begun).toBeLessThan(3_000)
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    for (const node of [quiet, newcomer]) {
      await node.settled(3_000)
      expect(node.disturbances).toEqual([])
      await node.close()
    }
  })

  test('that opens a session and says nothing is told so in time, and closed', async () => {
    const { socket } = await (await enrolled('mute')).dial()
    const begun = performance.now()
    const [data] = (await once(socket, 'message')) as [Buffer]
    expect(JSON.parse(data.toString())).toMatchObject({ code: 'E_REGISTER_TIMEOUT' })
    expect(performance.now() - begun).toBeLessThan(REGISTER_TIMEOUT_MS + 3_000)
    // The session is over; the runtime sends a close that comes from a timer some seconds later.
    const [code] = (await once(socket, 'close')) as [number]
    expect(code).toBe(4001)
  })
})

describe('the protocol version (X30)', () => {
  const answerTo = async (node: RawNode, change: object) => {
    const { socket, register } = await node.dial()
    await once(socket, 'open')
    socket.send(JSON.stringify({ ...register, ...change }))
    const [data] = (await once(socket, 'message')) as [Buffer]
    socket.terminate()
    return JSON.parse(data.toString()) as { type: string; protocol?: number; code?: string }
  }

  test('of a newer node is answered with the newest both know, one that is none is refused', async () => {
    const node = await enrolled('versions')
    expect(await answerTo(node, { protocol: 99 })).toMatchObject({
      type: 'registered',
      protocol: PROTOCOL_VERSION,
    })
    for (const protocol of [0, -1, 1.5, '1', null])
      expect(await answerTo(node, { protocol })).toMatchObject({ type: 'error', code: 'E_FRAME_INVALID' })
  })
})
