/** I-1 as Node prints and copies things; test/both holds what is the same in both runtimes. */
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { Keyring } from '../../crypto/keyring.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { generateX25519 } from '../../crypto/x25519.ts'
import { MaskedId } from '../../protocol/masked-id.ts'

/** Every form in which a reader of a log could recognise the bytes. */
const formsOf = (bytes: Uint8Array): string[] => {
  const buffer = Buffer.from(bytes)
  return [
    buffer.toString('base64').slice(0, 20),
    buffer.toString('base64url').slice(0, 20),
    buffer.toString('hex'),
    bytes.join(','),
    bytes.join(', '),
  ]
}

function printed(value: object): string[] {
  const thrown = new Error('x', { cause: value })
  return [
    inspect(value),
    inspect(value, { depth: 99, showHidden: true, getters: true, compact: false }),
    inspect({ nested: [value] }, { depth: 99, showHidden: true }),
    inspect(thrown, { depth: 99, showHidden: true }),
    `${value}`,
    JSON.stringify([value, { value }]),
    JSON.stringify(Object.entries(value)),
    JSON.stringify({ ...value }),
    JSON.stringify(structuredClone(value)),
    JSON.stringify(Object.getOwnPropertyDescriptors(value)),
    String(assertionMessage(value)),
  ]
}

function assertionMessage(value: object): unknown {
  try {
    expect(value).toEqual({ other: 1 })
    return ''
  } catch (error) {
    return error instanceof Error ? error.message + inspect(error, { depth: 9 }) : error
  }
}

describe('secret bytes', () => {
  test('show their length and a mark, in whatever way they are printed, copied or compared (I1.1)', () => {
    const bytes = Uint8Array.from({ length: 32 }, (_, index) => 200 - index)
    const secret = SecretBytes.take(bytes)
    for (const form of printed(secret)) for (const part of formsOf(bytes)) expect(form).not.toContain(part)
    expect(inspect(secret)).toContain('REDACTED 32 bytes')
    expect(JSON.stringify({ secret })).toBe('{"secret":"[REDACTED 32 bytes]"}')
    expect(`${secret}`).toBe('[REDACTED 32 bytes]')
  })

  test('are what WireGuard keys and the keyring are made of (I3.1)', () => {
    const key = generateX25519()
    for (const form of printed(key))
      for (const part of formsOf(key.expose())) expect(form).not.toContain(part)
    const master = SecretBytes.random(32).expose().slice()
    const keyring = Keyring.parse(
      JSON.stringify({ active: 1, keys: { 1: Buffer.from(master).toString('base64') } }),
    )
    expect(keyring?.key(1)?.equals(SecretBytes.take(master.slice()))).toBe(true)
    for (const form of printed(keyring ?? {}))
      for (const part of formsOf(master)) expect(form).not.toContain(part)
  })

  test('of different lengths are unequal, and no shorter one is equal to the beginning of a longer (I1.2)', () => {
    const [short, long] = [SecretBytes.take(Uint8Array.of(1, 2)), SecretBytes.take(Uint8Array.of(1, 2, 3))]
    expect([
      short.equals(long),
      long.equals(short),
      SecretBytes.take(new Uint8Array()).equals(short),
    ]).toEqual([false, false, false])
    expect(short.equals(SecretBytes.take(Uint8Array.of(1, 2)))).toBe(true)
  })
})

describe('a masked id (L2.2)', () => {
  test('shows eight characters however it is printed, and nothing of one that has no more (L2.3)', () => {
    const id = '0123abcd-4567-4890-8abc-0123456789ab'
    const masked = new MaskedId(id)
    for (const form of printed(masked)) expect(form).not.toContain(id.slice(0, 10))
    expect([`${masked}`, JSON.stringify(masked), inspect(masked)]).toEqual([
      '0123abcd…',
      '"0123abcd…"',
      '0123abcd…',
    ])
    for (const short of ['', 'abc', '12345678', '😀😀']) expect(`${new MaskedId(short)}`).toBe('…')
    expect(`${new MaskedId('😀'.repeat(9))}`).toBe(`${'😀'.repeat(8)}…`)
  })
})
