/** Secrets on their way and the keys at their end: bound to reader, name, version and request; a keyring is whole or none. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DeliverySealer, openDelivery, sealDelivery } from '../../crypto/delivery.ts'
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

describe('a gateway that seals to the same readers again and again', () => {
  const MINUTE = 60_000
  const ENCAPSULATED = 43

  async function reader() {
    const key = generateX25519()
    return { key: await importSealingKey(key), name: SealingKey.parse(await x25519PublicKey(key)) }
  }
  const delivery = (version: number) => ({
    fleet: FleetId.parse('a'.repeat(26)),
    name: SecretName.parse('db.password'),
    version,
    request: 'A'.repeat(22),
  })
  const value = (version: number) => SecretBytes.take(Uint8Array.of(version))
  const agreedIn = (sealed: string) => sealed.slice(0, ENCAPSULATED - 1)

  test('agrees once in ten minutes with each, and no box is under the number of another', async () => {
    const sealer = new DeliverySealer()
    const [one, other] = [await reader(), await reader()]
    const sealed = new Map<string, { readonly agreed: string; readonly to: string; readonly at: number }>()
    for (const at of [0, 1, 10 * MINUTE - 1, 10 * MINUTE, 11 * MINUTE])
      for (const to of [one, other, one]) {
        const version = sealed.size + 1
        const box = await sealer.seal(to.name, value(version), delivery(version), at)
        const opened = await openDelivery(to.key, box, delivery(version))
        expect(opened.ok && [...opened.value.expose()]).toEqual([version])
        expect(await openDelivery(to.key, box, delivery(version + 1))).toEqual({
          ok: false,
          error: 'corrupt',
        })
        sealed.set(Buffer.from(box, 'base64url').subarray(0, 36).toString('hex'), {
          agreed: agreedIn(box),
          to: to.name,
          at,
        })
      }
    // The agreement and the number are different for each.
    expect(sealed.size).toBe(15)
    const agreements = (to: { readonly name: string }) =>
      new Set([...sealed.values()].filter((box) => box.to === to.name).map(({ agreed }) => agreed)).size
    expect([agreements(one), agreements(other)]).toEqual([2, 2])
  })

  test('forgets what is old though nobody asks, and what a clock that was set back calls young', async () => {
    const sealer = new DeliverySealer()
    const to = await reader()
    const agreedAt = async (at: number) => agreedIn(await sealer.seal(to.name, value(1), delivery(1), at))
    const first = await agreedAt(60 * MINUTE)
    sealer.forgetOld(70 * MINUTE)
    const second = await agreedAt(60 * MINUTE)
    expect(second).not.toBe(first)
    expect(await agreedAt(69 * MINUTE)).toBe(second)
    expect(await agreedAt(MINUTE)).not.toBe(second)
  })

  test('serves requests that come at once, also while it forgets the oldest', async () => {
    const sealer = new DeliverySealer()
    const readers = await Promise.all(Array.from({ length: 40 }, reader))
    const versions = Array.from({ length: 400 }, (_, index) => index + 1)
    const boxes = await Promise.all(
      versions.map(async (version) => {
        const { name, key } = readers[version % readers.length] ?? (await reader())
        // Each step of the clock ends what was agreed on before it.
        const box = await sealer.seal(name, value(version % 256), delivery(version), version * 11 * MINUTE)
        return { key, version, box }
      }),
    )
    for (const { key, version, box } of boxes)
      expect((await openDelivery(key, box, delivery(version))).ok).toBe(true)
    expect(new Set(boxes.map(({ box }) => box.slice(0, 48))).size).toBe(boxes.length)
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
