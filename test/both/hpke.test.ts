/** crypto/hpke.ts is written out for speed: here it is held to a library's HPKE, in both directions and both modes. */
import { Chacha20Poly1305 } from '@hpke/chacha20poly1305'
import { CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from '@hpke/core'
import { describe, expect, it } from 'vitest'
import { fromBase64Url, utf8 } from '../../crypto/bytes.ts'
import { HpkeSender, hpkeOpen, hpkeOpenNumbered, hpkeSeal, importSealingKey } from '../../crypto/hpke.ts'
import type { SecretBytes } from '../../crypto/secret-bytes.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import { SealingKey } from '../../protocol/ids.ts'

const suite = new CipherSuite({
  kem: new DhkemX25519HkdfSha256(),
  kdf: new HkdfSha256(),
  aead: new Chacha20Poly1305(),
})

const exact = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer

async function party() {
  const secret = generateX25519()
  const name = SealingKey.parse(await x25519PublicKey(secret))
  return { name, ours: await importSealingKey(secret), theirs: await theirKeys(secret, name) }
}

const theirKeys = async (secret: SecretBytes, name: SealingKey) => ({
  privateKey: await suite.kem.importKey('raw', exact(secret.expose()), false),
  publicKey: await suite.kem.deserializePublicKey(exact(fromBase64Url(name) ?? new Uint8Array())),
})

/** Made anew, or the same array as before: what is kept of it must make no difference. */
const infos = [utf8('claw-test v1'), utf8('claw-test v1'), new Uint8Array()]
const SIZES = [0, 1, 64, 5000]

describe('HPKE as it is written out', () => {
  for (const mode of ['base', 'auth'] as const) {
    it(`agrees with the library in ${mode} mode`, async () => {
      const [from, to] = [await party(), await party()]
      const [ours, theirs] = mode === 'auth' ? [from.ours, from.theirs] : [undefined, undefined]
      for (const info of [...infos, ...infos]) {
        for (const size of SIZES) {
          const plaintext = crypto.getRandomValues(new Uint8Array(size))
          const aad = utf8(`message of ${size}`)
          const sealed = await hpkeSeal(to.name, plaintext, { info, aad }, ours)
          const opened = await suite.open(
            {
              recipientKey: to.theirs.privateKey,
              enc: exact(sealed.subarray(0, 32)),
              info: exact(info),
              ...(theirs && { senderPublicKey: theirs.publicKey }),
            },
            exact(sealed.subarray(32)),
            exact(aad),
          )
          expect(new Uint8Array(opened)).toEqual(plaintext)

          const { enc, ct } = await suite.seal(
            {
              recipientPublicKey: to.theirs.publicKey,
              info: exact(info),
              ...(theirs && { senderKey: theirs.privateKey }),
            },
            exact(plaintext),
            exact(aad),
          )
          const box = new Uint8Array([...new Uint8Array(enc), ...new Uint8Array(ct)])
          const read = await hpkeOpen(to.ours, box, { info, aad }, mode === 'auth' ? from.name : undefined)
          expect(read.ok && new Uint8Array(read.value.expose())).toEqual(plaintext)
        }
      }
    })
  }

  it('opens for its reader and sender, with its purpose and context, and for no other', async () => {
    const [from, to, other] = [await party(), await party(), await party()]
    const [info, aad] = [utf8('claw-test v1'), utf8('this')]
    const base = await hpkeSeal(to.name, utf8('x'), { info, aad })
    const auth = await hpkeSeal(to.name, utf8('x'), { info, aad }, from.ours)
    expect((await hpkeOpen(to.ours, base, { info, aad })).ok).toBe(true)
    expect((await hpkeOpen(to.ours, auth, { info, aad }, from.name)).ok).toBe(true)
    const refused = { ok: false, error: 'corrupt' }
    expect(await hpkeOpen(other.ours, base, { info, aad })).toEqual(refused)
    expect(await hpkeOpen(to.ours, base, { info: utf8('claw-test v2'), aad })).toEqual(refused)
    expect(await hpkeOpen(to.ours, base, { info, aad: utf8('that') })).toEqual(refused)
    expect(await hpkeOpen(to.ours, base, { info, aad }, from.name)).toEqual(refused)
    expect(await hpkeOpen(to.ours, auth, { info, aad }, other.name)).toEqual(refused)
    expect(await hpkeOpen(to.ours, auth, { info, aad })).toEqual(refused)
    for (const length of [0, 31, 32, 47]) {
      expect(await hpkeOpen(to.ours, base.subarray(0, length), { info, aad })).toEqual(refused)
    }
  })

  it('agrees with the library on message after message, which the receiver opens in any order', async () => {
    const to = await party()
    const info = utf8('claw-test v1')
    const sender = await HpkeSender.to(to.name, info)
    // Beyond the number's first byte.
    const boxes = Array.from({ length: 300 }, (_, n) =>
      sender.seal(utf8(`message ${n}`), utf8(`context ${n}`)),
    )
    const [first = new Uint8Array()] = boxes
    const theirs = await suite.createRecipientContext({
      recipientKey: to.theirs.privateKey,
      enc: exact(first.subarray(0, 32)),
      info: exact(info),
    })
    for (const [n, box] of boxes.entries()) {
      expect(box.subarray(0, 32)).toEqual(first.subarray(0, 32))
      const opened = await theirs.open(exact(box.subarray(36)), exact(utf8(`context ${n}`)))
      expect(new Uint8Array(opened)).toEqual(utf8(`message ${n}`))
    }
    for (const n of [299, 0, 256, 255, 1]) {
      const box = boxes[n] ?? new Uint8Array()
      const opened = await hpkeOpenNumbered(to.ours, box, { info, aad: utf8(`context ${n}`) })
      expect(opened.ok && new Uint8Array(opened.value.expose())).toEqual(utf8(`message ${n}`))
      const another = new Uint8Array(box)
      another.set([(another[35] ?? 0) ^ 1], 35)
      for (const wrong of [another, box.subarray(0, 35), box.subarray(0, 51)])
        expect(await hpkeOpenNumbered(to.ours, wrong, { info, aad: utf8(`context ${n}`) })).toEqual({
          ok: false,
          error: 'corrupt',
        })
    }
  })

  it('seals nothing with what was wiped', async () => {
    const to = await party()
    const sender = await HpkeSender.to(to.name, utf8('claw-test v1'))
    sender.wipe()
    expect(() => sender.seal(utf8('x'), new Uint8Array())).toThrow('used up')
  })

  it('agrees on nothing with a key of low order', async () => {
    const to = await party()
    const context = { info: utf8('claw-test v1'), aad: new Uint8Array() }
    const zero = SealingKey.parse('A'.repeat(43))
    await expect(hpkeSeal(zero, utf8('x'), context)).rejects.toThrow()
    expect(await hpkeOpen(to.ours, new Uint8Array(64), context)).toEqual({ ok: false, error: 'corrupt' })
  })
})
