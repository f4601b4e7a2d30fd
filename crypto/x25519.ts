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

/** Any clamped scalar: a point of low order gives zero with every one of them (RFC 7748, section 6.1). */
let probe: Promise<CryptoKey> | undefined

/** False for the few public keys with which every agreement comes to the same known secret. */
export async function isSafeX25519(publicKey: string): Promise<boolean> {
  probe ??= importX25519(SecretBytes.take(new Uint8Array(X25519_KEY_BYTES).fill(0x48)))
  try {
    const raw = base64url.decode(publicKey)
    const peer = await crypto.subtle.importKey('raw', new Uint8Array(raw), { name: 'X25519' }, true, [])
    // The two runtimes' types disagree on the name of this field; the runtimes do not.
    const agreement = { name: 'X25519', public: peer } as never
    const bits = await crypto.subtle.deriveBits(agreement, await probe, 256)
    return new Uint8Array(bits).some((byte) => byte !== 0)
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
