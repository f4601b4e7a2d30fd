/** M1.7: the matrix of trust, on real sockets, for requests and for WebSockets alike. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { GatewayConnection } from '../../host/gateway-connection.ts'
import { type GatewayUrl, parseGatewayUrl } from '../../host/gateway-url.ts'
import { type Pin, parsePin, spkiSha256 } from '../../host/pins.ts'
import { createTestCa, type TestCa, type TestServerCertificate } from '../support/certificates.ts'
import { startRecordingServer } from '../support/recording-server.ts'

let ca: TestCa
let otherCa: TestCa
let good: TestServerCertificate

beforeAll(async () => {
  ca = await createTestCa()
  otherCa = await createTestCa()
  good = await ca.issue()
})
afterEach(() => void vi.unstubAllEnvs())

interface Trust {
  readonly ca?: string
  readonly pins?: readonly Pin[]
}

async function request(url: GatewayUrl, trust: Trust): Promise<string> {
  const connection = new GatewayConnection({ url, ...trust })
  try {
    const { status } = await connection.request({
      method: 'GET',
      path: '/',
      headers: { authorization: 'Bearer x' },
    })
    return String(status)
  } catch (error) {
    return codeOf(error)
  } finally {
    connection.close()
  }
}

async function upgrade(url: GatewayUrl, trust: Trust): Promise<string> {
  const connection = new GatewayConnection({ url, ...trust })
  const socket = connection.webSocket('/', { authorization: 'Bearer x' })
  try {
    await once(socket, 'open')
    socket.close()
    await once(socket, 'close')
    return '200'
  } catch (error) {
    return codeOf(error)
  } finally {
    connection.close()
  }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : String(error)

const pinOf = ({ certificate }: Pick<TestCa, 'certificate'>): Pin => parsePin(spkiSha256(certificate))

describe.each([
  ['request', request],
  ['WebSocket', upgrade],
])('a %s', (_kind, open) => {
  test.each<[string, string, () => Promise<[TestServerCertificate, Trust]>]>([
    ['the right CA', '200', async () => [good, { ca: ca.pem }]],
    ['the right CA among two', '200', async () => [good, { ca: otherCa.pem + ca.pem }]],
    ['another CA', 'E_TLS_UNTRUSTED', async () => [good, { ca: otherCa.pem }]],
    ["only the system's trust", 'E_TLS_UNTRUSTED', async () => [good, {}]],
    [
      'an expired certificate',
      'E_TLS_UNTRUSTED',
      async () => [await ca.issue({ daysFromNow: -400 }), { ca: ca.pem }],
    ],
    [
      'one not yet valid',
      'E_TLS_UNTRUSTED',
      async () => [await ca.issue({ daysFromNow: 2 }), { ca: ca.pem }],
    ],
    [
      'another name',
      'E_TLS_UNTRUSTED',
      async () => [await ca.issue({ names: ['other.test'] }), { ca: ca.pem }],
    ],
    ['the right pin', '200', async () => [good, { ca: ca.pem, pins: [pinOf(good)] }]],
    ["the CA's pin", '200', async () => [good, { ca: ca.pem, pins: [pinOf(ca)] }]],
    [
      'the second of two pins',
      '200',
      async () => [good, { ca: ca.pem, pins: [pinOf(otherCa), pinOf(good)] }],
    ],
    ['a wrong pin', 'E_PIN_MISMATCH', async () => [good, { ca: ca.pem, pins: [pinOf(otherCa)] }]],
    ['the right pin without a CA', 'E_TLS_UNTRUSTED', async () => [good, { pins: [pinOf(good)] }]],
    [
      'the right pin on an expired certificate',
      'E_TLS_UNTRUSTED',
      async () => {
        const expired = await ca.issue({ daysFromNow: -400 })
        return [expired, { ca: ca.pem, pins: [pinOf(expired)] }]
      },
    ],
    [
      'the right pin under another name',
      'E_TLS_UNTRUSTED',
      async () => {
        const misnamed = await ca.issue({ names: ['other.test'] })
        return [misnamed, { ca: ca.pem, pins: [pinOf(misnamed)] }]
      },
    ],
    [
      'a pinned certificate that is sent along but signed nothing',
      'E_PIN_MISMATCH',
      async () => [
        { ...good, cert: good.cert + otherCa.pem },
        { ca: ca.pem, pins: [pinOf(otherCa)] },
      ],
    ],
  ])('with %s: %s', async (_case, expected, prepare) => {
    const [certificate, trust] = await prepare()
    await using server = await startRecordingServer(certificate)
    expect(await open(server.url, trust)).toBe(expected)
    expect(server.received() > 0).toBe(expected === '200')
  })

  test('is not talked out of its checks by the environment', async () => {
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0')
    await using server = await startRecordingServer(good)
    expect(await open(server.url, { ca: otherCa.pem })).toBe('E_TLS_UNTRUSTED')
    expect(server.received()).toBe(0)
  })

  test('checks the pin anew on each connection: a server that swaps its key is refused', async () => {
    await using server = await startRecordingServer(good)
    const trust = { ca: ca.pem, pins: [pinOf(good)] }
    expect(await open(server.url, trust)).toBe('200')
    const before = server.received()
    server.present(await ca.issue())
    expect(await open(server.url, trust)).toBe('E_PIN_MISMATCH')
    expect(server.received()).toBe(before)
  })

  test('tells a port where nothing listens, and one that does not speak TLS', async () => {
    const server = createServer(
      (socket) =>
        void socket
          .on('error', () => {})
          .resume()
          .end('220 smtp.example.com ESMTP\r\n'),
    ).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const url = parseGatewayUrl(`https://127.0.0.1:${port}`)
    expect(await open(url, { ca: ca.pem })).toBe('E_GATEWAY_UNREACHABLE')
    server.close()
    await once(server, 'close')
    expect(await open(url, { ca: ca.pem })).toBe('E_GATEWAY_UNREACHABLE')
  })
})

test('to a server whose handshake fails, nothing readable is sent', async () => {
  const chunks: Buffer[] = []
  const server = createServer((socket) => {
    socket.on('data', (chunk) => {
      chunks.push(chunk)
      socket.destroy()
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const connection = new GatewayConnection({ url: parseGatewayUrl(`https://127.0.0.1:${port}`), ca: ca.pem })
  const body = 'the-name-of-this-node'
  await expect(connection.request({ method: 'POST', path: '/secret-path', body })).rejects.toThrow()
  server.close()

  const sent = Buffer.concat(chunks)
  expect(sent[0]).toBe(0x16)
  for (const text of [body, 'secret-path', 'POST']) expect(sent.includes(text)).toBe(false)
})

test('a mismatch does not say which pin was expected', async () => {
  await using server = await startRecordingServer(good)
  const pin = pinOf(otherCa)
  const connection = new GatewayConnection({ url: server.url, ca: ca.pem, pins: [pin] })
  const error: unknown = await connection
    .request({ method: 'GET', path: '/' })
    .catch((caught: unknown) => caught)
  expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain(pin.slice(0, 16))
})

test('a CA that is none fails at once', () => {
  const url = parseGatewayUrl('https://gw.example.com')
  for (const text of [
    '',
    'garbage',
    good.key,
    '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----',
  ]) {
    expect(() => new GatewayConnection({ url, ca: text })).toThrow(
      expect.objectContaining({ code: 'E_CA_INVALID' }),
    )
  }
})
