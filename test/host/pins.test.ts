import { beforeAll, describe, expect, test } from 'vitest'
import { matchesPin, parsePin, spkiSha256 } from '../../host/pins.ts'
import { createTestCa, type TestServerCertificate } from '../support/certificates.ts'

let server: TestServerCertificate
let hex: string

beforeAll(async () => {
  server = await (await createTestCa()).issue()
  hex = spkiSha256(server.certificate)
})

test('colons, case and the base64 form all read the same', () => {
  const colons = hex.toUpperCase().match(/../g)?.join(':') ?? ''
  const base64 = `sha256/${Buffer.from(hex, 'hex').toString('base64')}`
  for (const form of [hex, hex.toUpperCase(), colons, base64]) expect(parsePin(form)).toBe(hex)
})

describe('anything else is refused', () => {
  const digits = 'a'.repeat(64)
  test.each([
    '',
    digits.slice(1),
    `${digits}a`,
    ` ${digits}`,
    `0x${digits.slice(2)}`,
    digits.replace('a', 'g'),
    'sha256/',
    'sha256/AAAA',
    `sha256/${Buffer.alloc(32).toString('base64').replace('=', '')}`,
    `sha256/${Buffer.alloc(33).toString('base64')}`,
    `sha1/${Buffer.alloc(32).toString('base64')}`,
  ])('%j', (text) => {
    expect(() => parsePin(text)).toThrow(expect.objectContaining({ code: 'E_PIN_INVALID', exitCode: 78 }))
  })
})

test('a renewed certificate of the same key still matches, one of another key does not', async () => {
  const ca = await createTestCa()
  const pins = [parsePin(spkiSha256((await ca.issue()).certificate)), parsePin(hex)]
  expect(matchesPin([server.certificate], pins)).toBe(true)
  expect(matchesPin([ca.certificate], pins)).toBe(false)
  expect(matchesPin([ca.certificate, server.certificate], pins)).toBe(true)
  expect(matchesPin([], pins)).toBe(false)
})
