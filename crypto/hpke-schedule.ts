/**
 * The keys of HPKE (RFC 9180, sections 4.1 and 5.1) from what the two ends have agreed on, for DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and
 * ChaCha20-Poly1305, without a pre-shared key. All at once: it is some five hashes of a few bytes, and Web Crypto would have each awaited.
 */
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { concat, utf8 } from './bytes.ts'

/** As section 5 of the RFC numbers them. */
export type HpkeMode = 'base' | 'auth'
const MODE_NUMBERS: Readonly<Record<HpkeMode, number>> = { base: 0, auth: 2 }

const HASH_BYTES = 32
const KEY_BYTES = 32
const NONCE_BYTES = 12
const EMPTY = new Uint8Array()

const KEM = suite('KEM', 0x00, 0x20)
const HPKE = suite('HPKE', 0x00, 0x20, 0x00, 0x01, 0x00, 0x03)

export interface MessageKey {
  readonly key: Uint8Array
  readonly nonce: Uint8Array
}

/** @param agreed what the key agreements gave, in the RFC's order. @param parties `enc`, the receiver's key and, in auth mode, the sender's. */
export function messageKey(
  mode: HpkeMode,
  agreed: Uint8Array,
  parties: Uint8Array,
  info: Uint8Array,
): MessageKey {
  const extracted = extract(KEM, EMPTY, 'eae_prk', agreed)
  const shared = expand(KEM, extracted, 'shared_secret', parties, HASH_BYTES)
  const context = scheduleContext(mode, info)
  const secret = extract(HPKE, shared, 'secret', EMPTY)
  const keys = {
    key: expand(HPKE, secret, 'key', context, KEY_BYTES),
    nonce: expand(HPKE, secret, 'base_nonce', context, NONCE_BYTES),
  }
  for (const bytes of [extracted, shared, secret]) bytes.fill(0)
  return keys
}

/** By the array itself: who seals again and again says the same each time. */
const contexts: Readonly<Record<HpkeMode, WeakMap<Uint8Array, Uint8Array>>> = {
  base: new WeakMap(),
  auth: new WeakMap(),
}

function scheduleContext(mode: HpkeMode, info: Uint8Array): Uint8Array {
  const made = contexts[mode].get(info)
  if (made !== undefined) return made
  const context = concat(
    Uint8Array.of(MODE_NUMBERS[mode]),
    extract(HPKE, EMPTY, 'psk_id_hash', EMPTY),
    extract(HPKE, EMPTY, 'info_hash', info),
  )
  contexts[mode].set(info, context)
  return context
}

/** LabeledExtract. */
const extract = (suiteId: Uint8Array, salt: Uint8Array, label: string, ikm: Uint8Array): Uint8Array =>
  hmac(sha256, salt, concat(suiteId, utf8(label), ikm))

/** LabeledExpand, for no more than one hash: HKDF's first block (RFC 5869, section 2.3). */
function expand(
  suiteId: Uint8Array,
  prk: Uint8Array,
  label: string,
  info: Uint8Array,
  length: number,
): Uint8Array {
  const block = hmac(
    sha256,
    prk,
    concat(Uint8Array.of(0, length), suiteId, utf8(label), info, Uint8Array.of(1)),
  )
  return block.subarray(0, length)
}

/** The version of HPKE that stands before every label, with the suite's id. */
function suite(name: string, ...algorithms: readonly number[]): Uint8Array {
  return concat(utf8('HPKE-v1'), utf8(name), Uint8Array.from(algorithms))
}
