/**
 * HPKE (RFC 9180) in the one suite the fleet uses: X25519, HKDF-SHA256, ChaCha20-Poly1305, one message to a key. A sealed box is
 * `enc(32) || ciphertext`. Written out, because every secret that is read passes here; a test holds it to a library's.
 */
import { chacha20poly1305 } from '@noble/ciphers/chacha.js'
import type { CryptoKey } from 'jose'
import type { SealingKey } from '../protocol/ids.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { concat, fromBase64Url } from './bytes.ts'
import { messageKey } from './hpke-schedule.ts'
import { SecretBytes } from './secret-bytes.ts'
import {
  agreeX25519,
  generateX25519Pair,
  importX25519,
  importX25519Public,
  x25519PublicKey,
} from './x25519.ts'

const ENC_BYTES = 32
const NOBODY = new Uint8Array()

interface PrivateKey {
  readonly key: CryptoKey
  readonly publicKey: Uint8Array
}

export async function importSealingKey(privateKey: SecretBytes): Promise<PrivateKey> {
  return { key: await importX25519(privateKey), publicKey: bytesOf(await x25519PublicKey(privateKey)) }
}

interface Context {
  /** The same array each time, where it is the same: what follows from it is then worked out once. */
  readonly info: Uint8Array
  readonly aad: Uint8Array
}

/** @param sender with it, HPKE's auth mode: the opener knows who sealed. */
export async function hpkeSeal(
  recipient: SealingKey,
  plaintext: Uint8Array,
  context: Context,
  sender?: PrivateKey,
): Promise<Uint8Array> {
  const to = await receiverOf(recipient)
  const ephemeral = await generateX25519Pair()
  const agreed = await agreeX25519(ephemeral.privateKey, to.key)
  const agreedToo = sender && (await agreeX25519(sender.key, to.key))
  const cipher = cipherOf(context, ephemeral.publicKey, to.bytes, agreed, sender?.publicKey, agreedToo)
  return concat(ephemeral.publicKey, cipher.encrypt(plaintext))
}

/** One error for every cause. */
export async function hpkeOpen(
  recipient: PrivateKey,
  box: Uint8Array,
  context: Context,
  sender?: SealingKey,
): Promise<Result<SecretBytes, 'corrupt'>> {
  try {
    const enc = box.subarray(0, ENC_BYTES)
    const senderKey = sender && bytesOf(sender)
    const agreed = await agreeX25519(recipient.key, await importX25519Public(enc))
    const agreedToo = senderKey && (await agreeX25519(recipient.key, await importX25519Public(senderKey)))
    const cipher = cipherOf(context, enc, recipient.publicKey, agreed, senderKey, agreedToo)
    return ok(SecretBytes.take(cipher.decrypt(box.subarray(ENC_BYTES))))
  } catch {
    return err('corrupt')
  }
}

/** For one message: a second under the same key would be under the same nonce. What was agreed on is wiped. */
function cipherOf(
  { info, aad }: Context,
  enc: Uint8Array,
  receiver: Uint8Array,
  agreed: Uint8Array,
  sender: Uint8Array = NOBODY,
  agreedToo: Uint8Array = NOBODY,
) {
  const mode = sender === NOBODY ? 'base' : 'auth'
  const { key, nonce } = messageKey(mode, concat(agreed, agreedToo), concat(enc, receiver, sender), info)
  agreed.fill(0)
  agreedToo.fill(0)
  return chacha20poly1305(key, nonce, aad)
}

interface Receiver {
  readonly key: CryptoKey
  readonly bytes: Uint8Array
}

/** Those that were sealed to, since most are sealed to again; all are forgotten together when they are too many. */
const receivers = new Map<SealingKey, Receiver>()
const MAX_RECEIVERS = 4096

async function receiverOf(name: SealingKey): Promise<Receiver> {
  const known = receivers.get(name)
  if (known !== undefined) return known
  const bytes = bytesOf(name)
  const receiver = { key: await importX25519Public(bytes), bytes }
  if (receivers.size >= MAX_RECEIVERS) receivers.clear()
  receivers.set(name, receiver)
  return receiver
}

function bytesOf(key: string): Uint8Array {
  const bytes = fromBase64Url(key)
  if (bytes === undefined) throw new TypeError('not a sealing key')
  return bytes
}
