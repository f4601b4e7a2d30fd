/** H-1 where the other tests do not look: loopback is no exemption, a WebSocket follows no redirect, a configuration is refused before a socket. */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer as createHttpsServer } from 'node:https'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { GatewayConnection } from '../../host/gateway-connection.ts'
import { parseGatewayUrl } from '../../host/gateway-url.ts'
import { createTestCa } from '../support/certificates.ts'
import { claw } from '../support/claw.ts'
import { clawnode } from '../support/clawnode.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

/** Stands where a plaintext gateway would, and notes whether anybody comes. */
let listener: Server
let connections: number
let port: number
beforeEach(async () => {
  connections = 0
  listener = createServer((socket) => {
    connections++
    socket.on('error', () => {}).destroy()
  }).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  port = (listener.address() as AddressInfo).port
})
afterEach(() => void listener.close())

const config = (text: string): string => {
  const path = join(temporaryDirectory(), 'config.toml')
  writeFileSync(path, text, { mode: 0o600 })
  return path
}

describe('clawnode', () => {
  test.each([
    ['ws://127.0.0.1', ''],
    ['WS://localhost', ''],
    ['ws://127.0.0.1', 'require_tls = true\n'],
    ['http://localhost', ''],
  ])('refuses %s with "%s" before any socket, in words that name both (H1.1, H1.4)', async (origin, line) => {
    const path = config(`gateway_url = "${origin}:${port}"\n${line}dir = "${temporaryDirectory()}"\n`)
    for (const command of [['check-config'], ['join', '--token-file', '-'], ['run', '--no-mesh']]) {
      const { code, stderr } = await clawnode([...command, '--config', path], { input: 'token' })
      expect([command, code]).toEqual([command, 78])
      expect(stderr).toContain('E_INSECURE_TRANSPORT')
      expect(stderr).toContain('require_tls')
      expect(stderr).toMatch(/ws:\/\/|http:\/\//)
    }
    expect(connections).toBe(0)
  })

  test('does not offer require_tls = false: there is no plaintext port to speak to (H1.3, H1.9)', async () => {
    const path = config(`gateway_url = "ws://127.0.0.1:${port}"\nrequire_tls = false\n`)
    for (const command of [['check-config'], ['run', '--no-mesh']]) {
      const { code, stderr } = await clawnode([...command, '--config', path])
      expect(code).toBe(78)
      expect(stderr).toContain('E_REQUIRE_TLS')
      expect(stderr).toContain('E_INSECURE_TRANSPORT')
    }
    expect(connections).toBe(0)
  })

  test('tells all that is wrong at once, before anything is sent or written (R8)', async () => {
    const directory = temporaryDirectory()
    const path = config(
      [
        `gateway_url = "ws://127.0.0.1:${port}"`,
        `gateway_ca_cert = "${join(directory, 'absent.pem')}"`,
        'gateway_cert_fingerprint = ["abc"]',
        'gatewayurl = "x"',
        'listen_port = 0',
        'log_level = "loud"',
        `dir = "${join(directory, 'state')}"`,
      ].join('\n'),
    )
    const { code, stderr } = await clawnode(['run', '--config', path])
    expect(code).toBe(78)
    for (const word of [
      'E_INSECURE_TRANSPORT',
      'gateway_ca_cert',
      'gateway_cert_fingerprint',
      'gatewayurl',
      'listen_port',
      'log_level',
    ])
      expect(stderr).toContain(word)
    expect(connections).toBe(0)
  })

  test('shows its configuration without the pins and without a password (R8)', async () => {
    const pin = 'ab'.repeat(32)
    const path = config(
      `gateway_url = "https://gateway.test"\ngateway_cert_fingerprint = ["${pin}"]\ndir = "${temporaryDirectory()}"\n`,
    )
    const { code, stdout } = await clawnode(['check-config', '--config', path])
    expect(code).toBe(0)
    expect(stdout).toContain('https://gateway.test')
    expect(stdout).not.toContain(pin.slice(0, 16))
  })
})

test('claw keeps to the same rule, loopback or not (H1.7)', async () => {
  const env = { CLAW_TOKEN_FILE: config('token') }
  for (const url of [`ws://127.0.0.1:${port}`, `http://localhost:${port}`]) {
    const { code, stderr } = await claw(['node', 'ls', '--gateway', url], { env })
    expect([url, code]).toEqual([url, 78])
    expect(stderr).toContain('E_INSECURE_TRANSPORT')
  }
  expect(connections).toBe(0)
})

test('a WebSocket is not led to another place by a redirect, plaintext or not (H1.5)', async () => {
  const ca = await createTestCa()
  const { key, cert } = await ca.issue()
  for (const target of [`ws://127.0.0.1:${port}/`, `http://127.0.0.1:${port}/`, `wss://127.0.0.1:${port}/`]) {
    const server = createHttpsServer({ key, cert })
    server.on('upgrade', (_request, socket) =>
      socket.end(`HTTP/1.1 302 Found\r\nlocation: ${target}\r\ncontent-length: 0\r\n\r\n`),
    )
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = `https://localhost:${(server.address() as AddressInfo).port}`
    const connection = new GatewayConnection({ url: parseGatewayUrl(url), ca: ca.pem })
    const socket = connection.webSocket('/v1/session', { authorization: 'Claw x' })
    const seen = await new Promise<string>((resolve) => {
      socket.once('error', ({ message }) => resolve(message))
      socket.once('open', () => resolve('it opened'))
    })
    expect(seen).toContain('302')
    connection.close()
    server.close()
    server.closeAllConnections()
  }
  expect(connections).toBe(0)
})
