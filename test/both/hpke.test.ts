/** crypto/hpke.ts is written out for speed: here it is held to a library's HPKE, in both directions and both modes. */
import { Chacha20Poly1305 } from '@hpke/chacha20poly1305'
import { CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from '@hpke/core'
import { describe, expect, it } from 'vitest'
import { fromBase64Url, utf8 } from '../../crypto/bytes.ts'
import { hpkeOpen, hpkeSeal, importSealingKey } from '../../crypto/hpke.ts'
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

  it('agrees on nothing with a key of low order', async () => {
    const to = await party()
    const context = { info: utf8('claw-test v1'), aad: new Uint8Array() }
    const zero = SealingKey.parse('A'.repeat(43))
    await expect(hpkeSeal(zero, utf8('x'), context)).rejects.toThrow()
    expect(await hpkeOpen(to.ours, new Uint8Array(64), context)).toEqual({ ok: false, error: 'corrupt' })
  })
})
