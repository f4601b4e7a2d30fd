/** X25519 key pairs (RFC 7748) for WireGuard and for HPKE: 32 raw bytes each, as WireGuard's tools write them. */
import { base64url, type CryptoKey } from 'jose'
import { concat } from './bytes.ts'
import { SecretBytes } from './secret-bytes.ts'

/** PKCS #8 header of an X25519 private key (RFC 8410, section 7): WebCrypto has no raw form for private keys. */
const PKCS8_HEADER = Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 4, 0x22, 4, 0x20)
const X25519_KEY_BYTES = 32

/** Clamped as `wg genkey` does, so that the stored bytes are the ones the interface reports. */
export function generateX25519(): SecretBytes {
  const key = SecretBytes.random(X25519_KEY_BYTES)
  const bytes = key.expose()
  bytes[0] = (bytes[0] ?? 0) & 248
  bytes[31] = ((bytes[31] ?? 0) & 127) | 64
  return key
}

/** Public key in base64url. */
export async function x25519PublicKey(privateKey: SecretBytes): Promise<string> {
  const { x } = (await crypto.subtle.exportKey('jwk', await importX25519(privateKey, true))) as { x?: string }
  if (x === undefined) throw new Error('the platform exported an X25519 key without its public part')
  return base64url.encode(base64url.decode(x))
}

/** For one agreement and no other. */
export async function generateX25519Pair(): Promise<{ privateKey: CryptoKey; publicKey: Uint8Array }> {
  // The two runtimes' types disagree on what this gives; the runtimes do not.
  const pair: unknown = await crypto.subtle.generateKey({ name: 'X25519' }, false, ['deriveBits'])
  const { privateKey, publicKey } = pair as { privateKey: CryptoKey; publicKey: CryptoKey }
  const raw = (await crypto.subtle.exportKey('raw', publicKey)) as ArrayBuffer
  return { privateKey, publicKey: new Uint8Array(raw) }
}

/** @throws if it is not 32 bytes. */
export const importX25519Public = async (publicKey: Uint8Array): Promise<CryptoKey> =>
  crypto.subtle.importKey('raw', new Uint8Array(publicKey), { name: 'X25519' }, true, [])

/** @throws with the few public keys with which every agreement comes to the same known secret (RFC 7748, section 6.1). */
export async function agreeX25519(privateKey: CryptoKey, publicKey: CryptoKey): Promise<Uint8Array> {
  // The two runtimes' types disagree on the name of this field; the runtimes do not.
  const agreement = { name: 'X25519', public: publicKey } as never
  const bits = new Uint8Array(await crypto.subtle.deriveBits(agreement, privateKey, 256))
  if (bits.reduce((any, byte) => any | byte, 0) === 0) throw new RangeError('an X25519 key of low order')
  return bits
}

/** Any clamped scalar: a point of low order gives zero with every one of them. */
let probe: Promise<CryptoKey> | undefined

/** False for keys with which `agreeX25519` fails. */
export async function isSafeX25519(publicKey: string): Promise<boolean> {
  probe ??= importX25519(SecretBytes.take(new Uint8Array(X25519_KEY_BYTES).fill(0x48)))
  try {
    await agreeX25519(await probe, await importX25519Public(base64url.decode(publicKey)))
    return true
  } catch {
    return false
  }
}

/** For key agreement. */
export async function importX25519(privateKey: SecretBytes, extractable = false) {
  if (privateKey.length !== X25519_KEY_BYTES)
    throw new RangeError(`X25519 private key must be ${X25519_KEY_BYTES} bytes`)
  const pkcs8 = concat(PKCS8_HEADER, privateKey.expose())
  try {
    return await crypto.subtle.importKey('pkcs8', new Uint8Array(pkcs8), { name: 'X25519' }, extractable, [
      'deriveBits',
    ])
  } finally {
    pkcs8.fill(0)
  }
}
