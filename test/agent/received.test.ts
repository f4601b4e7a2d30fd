/** What comes from the gateway is what was asked for, and opens with this node's key: of the sealed class by age, inside the delivery. */
import { beforeEach, describe, expect, test } from 'vitest'
import type { NodeKeys } from '../../agent/node-keys.ts'
import { openReceived } from '../../agent/secrets/received.ts'
import { utf8 } from '../../crypto/bytes.ts'
import { sealDelivery } from '../../crypto/delivery.ts'
import { importSealingKey } from '../../crypto/hpke.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import { ageEncrypt, ageRecipientOf } from '../../host/age.ts'
import { FleetId, SealingKey, SecretName } from '../../protocol/ids.ts'
import type { SecretClass } from '../../protocol/secrets.ts'

const fleet = FleetId.parse('a'.repeat(26))
const name = SecretName.parse('db/password')
const other = SecretName.parse('other')
const request = 'A'.repeat(22)
const value = () => SecretBytes.take(utf8('value'))

let sealing: NodeKeys['sealing']

async function makeSealing(): Promise<NodeKeys['sealing']> {
  const key = generateX25519()
  return {
    privateKey: await importSealingKey(key),
    publicKey: SealingKey.parse(await x25519PublicKey(key)),
    read: () => SecretBytes.take(Uint8Array.from(key.expose())),
  }
}

beforeEach(async () => {
  sealing = await makeSealing()
})

async function item(content: SecretBytes, secretClass: SecretClass = 'managed', version = 3, of = name) {
  const sealed = await sealDelivery(sealing.publicKey, content, { fleet, name: of, version, request })
  return { name: of, version, class: secretClass, sealed }
}

async function ageItem(recipient: SealingKey, as: SecretName | undefined) {
  const file = await ageEncrypt([ageRecipientOf(recipient)], value(), as)
  return item(SecretBytes.take(file), 'sealed')
}

type Items = Awaited<ReturnType<typeof item>>[]

async function open(
  items: Items,
  asked: { name: SecretName; version?: number }[] = [{ name }],
): Promise<unknown> {
  const received = await openReceived(asked, items, { fleet, request, sealing })
  return Object.fromEntries(
    Array.from(received, ([key, one]) => [
      key,
      [one.version, one.class, Buffer.from(one.value.expose()).toString()],
    ]),
  )
}

const corrupt = expect.objectContaining({ code: 'E_DELIVERY_CORRUPT' })

describe('managed', () => {
  test('is what was sealed for this node and this request', async () => {
    expect(await open([await item(value())])).toEqual({ 'db/password': [3, 'managed', 'value'] })
    expect(await open([await item(value())], [{ name, version: 3 }])).toEqual({
      'db/password': [3, 'managed', 'value'],
    })
  })

  test('all that were asked for, or none; what was not asked for is passed over', async () => {
    const both = [await item(value()), await item(SecretBytes.take(utf8('second')), 'managed', 1, other)]
    expect(await open(both)).toEqual({ 'db/password': [3, 'managed', 'value'] })
    expect(Object.keys((await open(both, [{ name: other }, { name }])) as object)).toEqual([
      'other',
      'db/password',
    ])
    await expect(open(both.slice(0, 1), [{ name }, { name: other }])).rejects.toEqual(corrupt)
  })

  test('another version than the one that was asked for is refused', async () => {
    await expect(open([await item(value(), 'managed', 4)], [{ name, version: 3 }])).rejects.toEqual(corrupt)
  })

  test('a value under another name, version or key is refused', async () => {
    const good = await item(value())
    for (const bad of [
      { ...good, name: other },
      { ...good, version: 4 },
    ]) {
      const asked = [{ name: bad.name }]
      await expect(open([bad], asked)).rejects.toEqual(corrupt)
    }
    sealing = await makeSealing()
    await expect(open([good])).rejects.toEqual(corrupt)
  })
})

describe('sealed', () => {
  test('opens with the node’s key as an identity of age', async () => {
    expect(await open([await ageItem(sealing.publicKey, name)])).toEqual({
      'db/password': [3, 'sealed', 'value'],
    })
  })

  test.each([
    ['that is encrypted to another node', async () => ageItem((await makeSealing()).publicKey, name)],
    ['that is the value of another secret', () => ageItem(sealing.publicKey, other)],
    ['that says of no secret that it is its value', () => ageItem(sealing.publicKey, undefined)],
    ['that is no age file', () => item(value(), 'sealed')],
  ])('one %s is not for this node', async (_, make) => {
    await expect(open([await make()])).rejects.toEqual(
      expect.objectContaining({
        code: 'E_SECRET_NOT_FOR_NODE',
        fix: expect.stringContaining('reseal db/password'),
      }),
    )
  })

  test('is not taken for managed: what the gateway calls it decides how it is opened, not what is in it', async () => {
    const sealed = await ageItem(sealing.publicKey, name)
    const opened = (await open([{ ...sealed, class: 'managed' }])) as Record<string, string[]>
    expect(opened['db/password']?.[2]).toMatch(/^age-encryption.org/)
  })
})
