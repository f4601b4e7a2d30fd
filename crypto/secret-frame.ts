/**
 * Secrets at rest (I-2): a key per secret by BLAKE3 derive_key, and the frame `nonce(12) || ciphertext || tag(16)` of ChaCha20-Poly1305
 * (RFC 8439). Byte-compatible with the original's claw-secrets.
 */
import { chacha20poly1305 } from '@noble/ciphers/chacha.js'
import { blake3 } from '@noble/hashes/blake3.js'
import type { SecretName } from '../protocol/ids.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { concat, randomBytes, utf8 } from './bytes.ts'
import { DOMAIN } from './domains.ts'
import { SecretBytes } from './secret-bytes.ts'

const NONCE_BYTES = 12
const TAG_BYTES = 16
export const KEY_BYTES = 32
export const FRAME_OVERHEAD_BYTES = NONCE_BYTES + TAG_BYTES

/** @param master 32 bytes. */
export function deriveSecretKey(master: SecretBytes, name: SecretName): SecretBytes {
  if (master.length !== KEY_BYTES) throw new RangeError(`master key must be ${KEY_BYTES} bytes`)
  return SecretBytes.take(
    blake3(master.expose(), { context: utf8(DOMAIN.secretKey + name), dkLen: KEY_BYTES }),
  )
}

export function sealFrame(
  key: SecretBytes,
  plaintext: SecretBytes,
  nonce = randomBytes(NONCE_BYTES),
): Uint8Array {
  return concat(nonce, chacha20poly1305(key.expose(), nonce).encrypt(plaintext.expose()))
}

/** One error for every cause: wrong key, wrong name, any byte changed, too short. */
export function openFrame(key: SecretBytes, frame: Uint8Array): Result<SecretBytes, 'corrupt'> {
  if (frame.length < FRAME_OVERHEAD_BYTES) return err('corrupt')
  try {
    const plaintext = chacha20poly1305(key.expose(), frame.subarray(0, NONCE_BYTES)).decrypt(
      frame.subarray(NONCE_BYTES),
    )
    return ok(SecretBytes.take(plaintext))
  } catch {
    return err('corrupt')
  }
}
