/** Bytes on a TLS connection that no HTTP client would send. */
import { connect } from 'node:tls'
import type { GatewayUrl } from '../../host/gateway-url.ts'
import { type Dice, mutateText } from './mutate.ts'

const ANSWER_WITHIN_MS = 2_000
const VALID = 'POST /v1/enrol HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}'

const ODD_REQUESTS = [
  VALID,
  'GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n',
  'GET /v1/session HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: x\r\nsec-websocket-version: 13\r\n\r\n',
  'GET http://localhost/v1/nodes HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n',
  'POST /v1/enrol HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\nzz\r\n{}\r\n0\r\n\r\n',
  'POST /v1/enrol HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n',
  'POST /v1/enrol HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\nconnection: close\r\n\r\n{}',
  'POST /v1/enrol HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{}',
  `GET /${'a'.repeat(9000)} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`,
  `GET / HTTP/1.1\r\nhost: localhost\r\nx: ${'y'.repeat(70_000)}\r\nconnection: close\r\n\r\n`,
  'GET / HTTP/1.1\r\nhost: \r\nauthorization: Bearer \u00ff\u0001\r\nconnection: close\r\n\r\n',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  '\u0000\u0000\u0000',
] as const

export const oddBytes = (dice: Dice): Buffer =>
  Buffer.from(
    dice.below(4) === 0 ? dice.pick(ODD_REQUESTS) : mutateText(dice, dice.pick(ODD_REQUESTS)),
    'latin1',
  )

/**
 * Whether the runtime's HTTP server refuses by itself, before any code of the gateway: it knows no other methods (501, RFC 9110 section 15.6.2),
 * and is no proxy to CONNECT through (a bare 500). Cloudflare's edge lets neither through to a Worker.
 */
export function isRuntimesOwn(status: number, bytes: Buffer): boolean {
  const text = bytes.toString('latin1')
  if (status === 500) return /^CONNECT\b/.test(text)
  return status === 501 && !/^(GET|POST)\b/.test(text)
}

/** Statuses of whatever came back before the connection ended, or for as long as anybody would wait. */
export async function exchange(url: GatewayUrl, ca: string, bytes: Buffer): Promise<readonly number[]> {
  return statusesIn(await converse(url, ca, bytes))
}

export const statusesIn = (text: string): number[] =>
  Array.from(text.matchAll(/^HTTP\/1\.[01] (\d{3})/gm), ([, status]) => Number(status))

/** All that came back, likewise. */
export function converse({ host, port }: GatewayUrl, ca: string, bytes: Buffer): Promise<string> {
  return new Promise((resolve) => {
    let answer = ''
    const socket = connect({ host, port, ca, servername: 'localhost' }, () => {
      // Half closed, so that a server that waits for more learns that there is none.
      socket.end(bytes)
    })
    const timer = setTimeout(() => socket.destroy(), ANSWER_WITHIN_MS)
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1')
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(answer)
    })
  })
}
