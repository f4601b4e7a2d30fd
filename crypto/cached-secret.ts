/**
 * A secret in a node's own keeping, for when its gateway is away: XChaCha20-Poly1305 under a key that follows from the node's sealing key,
 * as `nonce(24) || ciphertext || tag(16)`. It is bound to what it is kept as; another node's, or under another name or time, it does not open.
 */
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { blake3 } from '@noble/hashes/blake3.js'
import { err, ok, type Result } from '../protocol/result.ts'
import { concat, lengthPrefixed, randomBytes, utf8 } from './bytes.ts'
import { DOMAIN } from './domains.ts'
import { SecretBytes } from './secret-bytes.ts'

const KEY_BYTES = 32
/** One key for many values, and no counter that would survive a restored disk: long enough to be drawn at random. */
const NONCE_BYTES = 24

/** @param sealing the node's private key, 32 bytes. */
export function deriveCacheKey(sealing: SecretBytes): SecretBytes {
  if (sealing.length !== KEY_BYTES) throw new RangeError(`a sealing key is ${KEY_BYTES} bytes`)
  return SecretBytes.take(blake3(sealing.expose(), { context: utf8(DOMAIN.secretCache), dkLen: KEY_BYTES }))
}

export function sealCached(key: SecretBytes, value: SecretBytes, binding: readonly string[]): Uint8Array {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = xchacha20poly1305(key.expose(), nonce, lengthPrefixed(...binding))
  return concat(nonce, cipher.encrypt(value.expose()))
}

/** One error for every cause. */
export function openCached(
  key: SecretBytes,
  box: Uint8Array,
  binding: readonly string[],
): Result<SecretBytes, 'corrupt'> {
  try {
    const nonce = box.subarray(0, NONCE_BYTES)
    const cipher = xchacha20poly1305(key.expose(), nonce, lengthPrefixed(...binding))
    return ok(SecretBytes.take(cipher.decrypt(box.subarray(NONCE_BYTES))))
  } catch {
    return err('corrupt')
  }
}
