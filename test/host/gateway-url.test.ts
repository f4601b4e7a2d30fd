import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseGatewayUrl } from '../../host/gateway-url.ts'

test.each([
  ['https://gw.example.com', 'https://gw.example.com', 'gw.example.com', 443],
  ['wss://gw.example.com:443', 'https://gw.example.com', 'gw.example.com', 443],
  ['WSS://GW.example.com:8443/', 'https://gw.example.com:8443', 'gw.example.com', 8443],
  ['https://10.0.0.1:8443/path', 'https://10.0.0.1:8443', '10.0.0.1', 8443],
  ['https://[fd00::1]:8443', 'https://[fd00::1]:8443', 'fd00::1', 8443],
])('%s', (text, origin, host, port) => {
  const url = parseGatewayUrl(text)
  expect([url.origin, url.host, url.port]).toEqual([origin, host, port])
  expect(url.http('/v1/nodes?cursor=a').href).toBe(`${origin}/v1/nodes?cursor=a`)
  expect(url.ws('/v1/session').href).toBe(`${origin.replace('https', 'wss')}/v1/session`)
})

test.each(['ws://gw', 'WS://gw', 'Ws://localhost:8080', 'http://gw', 'HTTP://127.0.0.1', 'ws:gw', 'http:'])(
  '%s is plaintext',
  (text) => {
    expect(() => parseGatewayUrl(text)).toThrow(
      expect.objectContaining({
        code: 'E_INSECURE_TRANSPORT',
        exitCode: 78,
        message: expect.stringMatching(/(ws|http):\/\/.*require_tls/),
      }),
    )
  },
)

test.each([
  '',
  'gw.example.com',
  'gw.example.com:8443',
  '//gw',
  ' https://gw',
  'https://gw ',
  'https://gw\n',
  'ht\ttps://gw',
  'https://g w',
  'https:gw',
  'https:/gw',
  'https:///gw',
  'https://',
  'https://:8443',
  'https:\\\\gw',
  'https://gw\\@evil',
  'https://user@gw',
  'https://user:password@gw',
  'https://@gw',
  'https://gw?',
  'https://gw?x=1',
  'https://gw/#',
  'https://gw:99999',
  'https://gw:port',
  'https://[fd00::1',
  'ftp://gw',
  'httpss://gw',
  'file:///etc/passwd',
])('%j is no address', (text) => {
  expect(() => parseGatewayUrl(text)).toThrow(
    expect.objectContaining({ code: 'E_GATEWAY_URL', exitCode: 78 }),
  )
})

test('a password in an address is not repeated', () => {
  expect(() => parseGatewayUrl('https://me:hunter2@gw')).toThrow(
    expect.objectContaining({ why: expect.not.stringContaining('hunter2') }),
  )
})

test('whatever the text: it is refused, or it is TLS to the host it names', () => {
  const scheme = fc.constantFrom('https://', 'wss://', 'http://', 'ws://', 'HTTPS:', '')
  fc.assert(
    fc.property(
      scheme,
      fc.webAuthority({ withUserInfo: true, withPort: true }),
      fc.string(),
      (start, host, end) => {
        try {
          const { origin } = parseGatewayUrl(start + host + end)
          return origin.startsWith('https://') && !origin.includes('@')
        } catch (error) {
          return error instanceof Error && error.name === 'UserError'
        }
      },
    ),
  )
})

test('a path cannot lead to another host', () => {
  const url = parseGatewayUrl('https://gw.example.com')
  expect(url.http('//evil.example').host).toBe('gw.example.com')
  expect(() => url.http('@evil.example')).toThrow(TypeError)
})
