/** What a gateway that lies can get out of whoever seals and reads with `claw`: nothing that is sealed. */
import { beforeEach, describe, expect, test, vi } from 'vitest'
import type * as z from 'zod'
import type { SecretRecipient } from '../../cli/admin-client.ts'
import { NO_READERS } from '../../cli/secrets/options.ts'
import { ownerRecipients, readOwnerKeys } from '../../cli/secrets/owner-keys.ts'
import { readSecret } from '../../cli/secrets/read-secret.ts'
import type { RecipientProof } from '../../cli/secrets/recipient-proof.ts'
import { Sealer } from '../../cli/secrets/sealer.ts'
import { sealDelivery } from '../../crypto/delivery.ts'
import { Identity } from '../../crypto/identity.ts'
import { nodeIdOf } from '../../crypto/node-id.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import { ageDecrypt, ageEncrypt, ageIdentityOf, ageRecipientStanzas } from '../../host/age.ts'
import { FleetId, NodeName, SealingKey, SecretName } from '../../protocol/ids.ts'
import { MAX_RECIPIENTS } from '../../protocol/limits.ts'
import { err, ok } from '../../protocol/result.ts'
import type { SecretReadBody } from '../../protocol/secrets.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const fleet = FleetId.parse('a'.repeat(26))
const ORIGIN = 'https://gateway.test'
const A = SecretName.parse('app/a')
const B = SecretName.parse('app/b')
const flags = { identity: undefined, recipient: [], yes: true }
const proven: RecipientProof = { check: async () => ok(undefined) }
const value = (text: string) => SecretBytes.take(Uint8Array.from(Buffer.from(text)))

beforeEach(() => {
  vi.stubEnv('CLAW_HOME', temporaryDirectory())
  vi.stubEnv('CLAW_AGE_IDENTITY', undefined)
  vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  return () => {
    vi.unstubAllEnvs()
    vi.restoreAllMocks()
  }
})

async function recipient(name: string) {
  const key = generateX25519()
  const { publicKey } = await Identity.fromSeed(Identity.generateSeed())
  const node: SecretRecipient = {
    id: await nodeIdOf(publicKey),
    name: NodeName.parse(name),
    identity: publicKey,
    sealing: SealingKey.parse(await x25519PublicKey(key)),
    entry: 0,
  }
  return { key, node }
}

/** Answers whatever is asked with this file, sealed as it should be to whoever asks. */
const answering = (file: Uint8Array, answer: { version?: number; name?: SecretName } = {}) => ({
  async readSecret(asked: string, { sealTo, request }: z.input<typeof SecretReadBody>) {
    const name = answer.name ?? SecretName.parse(asked)
    const version = answer.version ?? 1
    const delivery = { fleet, name, version, request }
    const sealed = await sealDelivery(
      SealingKey.parse(sealTo),
      SecretBytes.take(Uint8Array.from(file)),
      delivery,
    )
    return { fleet, item: { name, version, class: 'sealed' as const, sealed } }
  },
})

const prepare = (nodes: readonly SecretRecipient[], proof = proven) =>
  Sealer.prepare(
    { origin: ORIGIN, secretRecipients: async () => [...nodes] },
    proof,
    A,
    { readers: NO_READERS, before: undefined },
    flags,
  )

describe('that hands out one secret as another', () => {
  test('is not believed: what was sealed as one does not open as another, to be read or sealed anew', async () => {
    const file = await ageEncrypt(await ownerRecipients(undefined, []), value('of a'), A)
    const read = await readSecret(answering(file), A, undefined)
    expect(Buffer.from(read.value.expose()).toString()).toBe('of a')
    await expect(readSecret(answering(file), B, undefined)).rejects.toMatchObject({
      code: 'E_SEALED_UNREADABLE',
    })
  })

  test('nor is any other file for the same key, such as a private one of its owner', async () => {
    const file = await ageEncrypt(await ownerRecipients(undefined, []), value('private'))
    await expect(readSecret(answering(file), A, undefined)).rejects.toMatchObject({
      code: 'E_SEALED_UNREADABLE',
    })
  })

  test('nor an answer to another question', async () => {
    const file = await ageEncrypt(await ownerRecipients(undefined, []), value('of a'), A)
    for (const [answer, options] of [
      [{ version: 1 }, { version: 2 }],
      [{ name: B }, {}],
    ] as const) {
      const read = readSecret(answering(file, answer), A, undefined, options)
      await expect(read).rejects.toMatchObject({ code: 'E_DELIVERY_CORRUPT' })
    }
  })
})

describe('that slips in a key of its own', () => {
  test('gets nothing: one key that is not proven, and nothing is sealed to any', async () => {
    const nodes = await Promise.all(['good', 'better', 'forged'].map(recipient))
    const proof: RecipientProof = {
      check: async ({ name }) => (name === 'forged' ? err('the entry names another key') : ok(undefined)),
    }
    await expect(
      prepare(
        nodes.map(({ node }) => node),
        proof,
      ),
    ).rejects.toMatchObject({
      code: 'E_RECIPIENT_UNPROVEN',
      message: expect.stringContaining('forged'),
      why: 'the entry names another key',
    })
  })

  test('each key is proven once, and only those that are get the value', async () => {
    const nodes = await Promise.all(Array.from({ length: 20 }, (_, index) => recipient(`n${index}`)))
    const checked: string[] = []
    const sealer = await prepare(
      nodes.map(({ node }) => node),
      {
        check: async ({ name }) => {
          checked.push(name)
          return ok(undefined)
        },
      },
    )
    expect(checked.sort()).toEqual(nodes.map(({ node }) => node.name as string).sort())
    const { ciphertext, recipients } = await sealer.seal(value('of a'))
    const file = Buffer.from(ciphertext, 'base64')
    expect(recipients).toEqual(nodes.map(({ node }) => node.id))
    expect(ageRecipientStanzas(file)).toBe(nodes.length + 1)
    for (const { key } of [...nodes, { key: readOwnerKeys(undefined)[0] ?? generateX25519() }])
      expect(await ageDecrypt(ageIdentityOf(key), file, A)).toMatchObject({ ok: true })
    const { key: stranger } = await recipient('stranger')
    expect(await ageDecrypt(ageIdentityOf(stranger), file, A)).toMatchObject({ ok: false })
  })

  test('nor by naming so many that nobody looks', async () => {
    const { node } = await recipient('many')
    const nodes = Array.from({ length: MAX_RECIPIENTS + 1 }, () => node)
    await expect(prepare(nodes)).rejects.toMatchObject({ code: 'E_RECIPIENTS_TOO_MANY' })
  })
})

test('that gives a node another key than before has to explain itself to the owner', async () => {
  const [{ node }, { node: other }] = await Promise.all([recipient('n'), recipient('n')])
  ;(await prepare([node])).remember()
  const asked = Sealer.prepare(
    { origin: ORIGIN, secretRecipients: async () => [{ ...node, sealing: other.sealing }] },
    proven,
    A,
    { readers: NO_READERS, before: undefined },
    { ...flags, yes: false },
  )
  await expect(asked).rejects.toMatchObject({ code: 'E_CONFIRMATION_NEEDED' })
  expect(vi.mocked(process.stderr.write).mock.calls.join()).toContain('ANOTHER KEY')
})
