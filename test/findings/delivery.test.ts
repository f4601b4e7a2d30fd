/** Secrets on their way and the keys at their end: bound to reader, name, version and request; a keyring is whole or none. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { openDelivery, sealDelivery } from '../../crypto/delivery.ts'
import { importSealingKey } from '../../crypto/hpke.ts'
import { Keyring } from '../../crypto/keyring.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import { FleetId, SealingKey, SecretName } from '../../protocol/ids.ts'

describe('a delivered secret', () => {
  const binding = {
    fleet: FleetId.parse('a'.repeat(26)),
    name: SecretName.parse('db.password'),
    version: 3,
    request: 'A'.repeat(22),
  }

  test('opens for its reader, name, version and request, and for no other', async () => {
    const key = generateX25519()
    const privateKey = await importSealingKey(key)
    const reader = SealingKey.parse(await x25519PublicKey(key))
    const value = SecretBytes.take(Uint8Array.of(1, 2, 3))
    const sealed = await sealDelivery(reader, value, binding)
    const opened = await openDelivery(privateKey, sealed, binding)
    expect(opened.ok && [...opened.value.expose()]).toEqual([1, 2, 3])
    const refused = { ok: false, error: 'corrupt' }
    for (const change of [
      { fleet: FleetId.parse('b'.repeat(26)) },
      { name: SecretName.parse('db.passwor') },
      { version: 4 },
      { request: 'B'.repeat(22) },
    ])
      expect(await openDelivery(privateKey, sealed, { ...binding, ...change })).toEqual(refused)
    expect(await openDelivery(await importSealingKey(generateX25519()), sealed, binding)).toEqual(refused)
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: sealed.length - 2 }), async (at) => {
        const changed = `${sealed.slice(0, at)}${sealed[at] === 'A' ? 'B' : 'A'}${sealed.slice(at + 1)}`
        expect(await openDelivery(privateKey, changed, binding)).toEqual(refused)
      }),
    )
  })
})

describe('a keyring', () => {
  const key = (bytes: number) => Buffer.alloc(bytes, 7).toString('base64')

  test.each([
    ['no JSON', 'x'],
    ['another form', '[]'],
    ['no active key', `{"keys":{"1":"${key(32)}"}}`],
    ['an active key that is not there', `{"active":2,"keys":{"1":"${key(32)}"}}`],
    ['a short key', `{"active":1,"keys":{"1":"${key(31)}"}}`],
    ['a long key', `{"active":1,"keys":{"1":"${key(33)}"}}`],
    ['a short key beside a good one', `{"active":1,"keys":{"1":"${key(32)}","2":"${key(16)}"}}`],
    ['a field it does not know', `{"active":1,"keys":{"1":"${key(32)}"},"more":1}`],
  ])('with %s is none', (_, text) => {
    expect(Keyring.parse(text)).toBeUndefined()
  })

  test('gives each version its key', () => {
    const keyring = Keyring.parse(`{"active":2,"keys":{"1":"${key(32)}","2":"${key(32)}"}}`)
    expect([keyring?.active, keyring?.key(1)?.length, keyring?.key(3)]).toEqual([2, 32, undefined])
  })
})
