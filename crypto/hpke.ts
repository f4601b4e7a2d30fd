/**
 * HPKE (RFC 9180) in the one suite the fleet uses: X25519, HKDF-SHA256, ChaCha20-Poly1305. A sealed box is `enc(32) || ciphertext`.
 */
import { Chacha20Poly1305 } from '@hpke/chacha20poly1305'
import { CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from '@hpke/core'
import { expand, extract } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import type { SealingKey } from '../protocol/ids.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { concat, fromBase64Url } from './bytes.ts'
import { SecretBytes } from './secret-bytes.ts'

const ENC_BYTES = 32

/** HKDF in one go: a key schedule is some ten hashes of a few bytes, and Web Crypto takes two turns of the event loop for each. */
class HkdfAtOnce extends HkdfSha256 {
  override async extract(salt: ArrayBufferLike | ArrayBufferView, ikm: ArrayBufferLike | ArrayBufferView) {
    return exact(extract(sha256, bytesOf(ikm), bytesOf(salt)))
  }

  override async expand(
    prk: ArrayBufferLike | ArrayBufferView,
    info: ArrayBufferLike | ArrayBufferView,
    length: number,
  ) {
    return exact(expand(sha256, bytesOf(prk), bytesOf(info), length))
  }
}

const bytesOf = (data: ArrayBufferLike | ArrayBufferView): Uint8Array =>
  ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data)

const hpkeSuite = new CipherSuite({
  kem: new DhkemX25519HkdfSha256(),
  kdf: new HkdfAtOnce(),
  aead: new Chacha20Poly1305(),
})

type PrivateKey = Awaited<ReturnType<typeof importSealingKey>>

export const importSealingKey = (privateKey: SecretBytes) =>
  hpkeSuite.kem.importKey('raw', exact(privateKey.expose()), false)

interface Context {
  readonly info: Uint8Array
  readonly aad: Uint8Array
}

/** @param sender with it, HPKE's auth mode: the opener knows who sealed. */
export async function hpkeSeal(
  recipient: SealingKey,
  plaintext: Uint8Array,
  { info, aad }: Context,
  sender?: PrivateKey,
): Promise<Uint8Array> {
  const recipientPublicKey = await publicKey(recipient)
  const { enc, ct } = await hpkeSuite.seal(
    { recipientPublicKey, info: exact(info), ...(sender && { senderKey: sender }) },
    exact(plaintext),
    exact(aad),
  )
  return concat(new Uint8Array(enc), new Uint8Array(ct))
}

/** One error for every cause. */
export async function hpkeOpen(
  recipient: PrivateKey,
  box: Uint8Array,
  { info, aad }: Context,
  sender?: SealingKey,
): Promise<Result<SecretBytes, 'corrupt'>> {
  try {
    const senderPublicKey = sender && (await publicKey(sender))
    const plaintext = await hpkeSuite.open(
      {
        recipientKey: recipient,
        enc: exact(box.subarray(0, ENC_BYTES)),
        info: exact(info),
        ...(senderPublicKey && { senderPublicKey }),
      },
      exact(box.subarray(ENC_BYTES)),
      exact(aad),
    )
    return ok(SecretBytes.take(new Uint8Array(plaintext)))
  } catch {
    return err('corrupt')
  }
}

async function publicKey(key: SealingKey) {
  const bytes = fromBase64Url(key)
  if (bytes === undefined) throw new TypeError('not a sealing key')
  return hpkeSuite.kem.deserializePublicKey(exact(bytes))
}

/** The library takes whole ArrayBuffers; a view may be a part of a larger one. */
const exact = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer
