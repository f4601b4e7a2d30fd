import { describe, expect, test } from 'vitest'
import { parseDump } from '../../agent/mesh/wg-dump.ts'
import { base64UrlToBase64 } from '../../crypto/bytes.ts'
import { WireGuardKey } from '../../protocol/ids.ts'

const own = WireGuardKey.parse(`${'o'.repeat(42)}8`)
const peer = WireGuardKey.parse(`${'-_'.repeat(21)}8`)
const secret = 'c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlYz0='
const preshared = 'cHJlc2hhcmVkIHByZXNoYXJlZCBwcmVzaGFyZWQgcHI='

const dump = (...lines: string[][]) =>
  new Uint8Array(Buffer.from(lines.map((line) => `${line.join('\t')}\n`).join('')))
const device = [secret, base64UrlToBase64(own), '51820', 'off']

describe('reading `wg show dump`', () => {
  test('gives the device and its peers', () => {
    const state = parseDump(
      dump(
        device,
        [
          base64UrlToBase64(peer),
          preshared,
          '198.18.0.2:51820',
          '10.100.0.2/32,fd00::2/128',
          '1700000000',
          '10',
          '20',
          '25',
        ],
        [base64UrlToBase64(own), '(none)', '(none)', '(none)', '0', '0', '0', 'off'],
      ),
    )
    expect(state).toEqual({
      publicKey: own,
      listenPort: 51_820,
      peers: [
        {
          publicKey: peer,
          endpoint: '198.18.0.2:51820',
          allowedIps: ['10.100.0.2/32', 'fd00::2/128'],
          lastHandshake: 1_700_000_000,
          rxBytes: 10,
          txBytes: 20,
          keepalive: 25,
          hasPsk: true,
        },
        {
          publicKey: own,
          endpoint: undefined,
          allowedIps: [],
          lastHandshake: 0,
          rxBytes: 0,
          txBytes: 0,
          keepalive: 0,
        },
      ],
    })
  })

  test('wipes the secrets in the bytes it was given', () => {
    const bytes = dump(device, [base64UrlToBase64(peer), preshared, '(none)', '(none)', '0', '0', '0', 'off'])
    parseDump(bytes)
    const left = Buffer.from(bytes).toString('latin1')
    expect(left).not.toMatch(/c2Vj|cHJl/)
    expect(left).toContain(base64UrlToBase64(peer))
  })

  test('a device without a key has none', () => {
    expect(parseDump(dump(['(none)', '(none)', '40000', 'off']))).toEqual({
      publicKey: undefined,
      listenPort: 40_000,
      peers: [],
    })
  })

  test.each([[''], ['x'], [secret, 'not a key', '1', 'off']])('refuses anything else: %s', (...fields) => {
    expect(() => parseDump(dump(fields))).toThrow('unexpected')
  })
})
