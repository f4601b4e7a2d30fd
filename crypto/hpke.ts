/**
 * HPKE (RFC 9180) in the one suite the fleet uses: X25519, HKDF-SHA256, ChaCha20-Poly1305. A box of one message is
 * `enc(32) || ciphertext`. Written out, because every secret that is read passes here; a test holds it to a library's.
 */
import { chacha20poly1305 } from '@noble/ciphers/chacha.js'
import type { CryptoKey } from 'jose'
import type { SealingKey } from '../protocol/ids.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { concat, fromBase64Url } from './bytes.ts'
import { type MessageKey, messageKey } from './hpke-schedule.ts'
import { SecretBytes } from './secret-bytes.ts'
import {
  agreeX25519,
  generateX25519Pair,
  importX25519,
  importX25519Public,
  x25519PublicKey,
} from './x25519.ts'

const ENC_BYTES = 32
const SEQUENCE_BYTES = 4
const MAX_SEQUENCE = 2 ** (8 * SEQUENCE_BYTES) - 1
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
  { info, aad }: Context,
  sender?: PrivateKey,
): Promise<Uint8Array> {
  const { enc, ...message } = await agreeWith(recipient, info, sender)
  try {
    return concat(enc, chacha20poly1305(message.key, message.nonce, aad).encrypt(plaintext))
  } finally {
    message.key.fill(0)
  }
}

/**
 * Many messages to one receiver (RFC 9180, section 5.2), who needs no more than the message itself: a box is
 * `enc(32) || sequence number(4, big-endian) || ciphertext`.
 */
export class HpkeSender {
  readonly #enc: Uint8Array
  readonly #message: MessageKey
  #next = 0

  private constructor({ enc, ...message }: Agreed) {
    this.#enc = enc
    this.#message = message
  }

  static async to(recipient: SealingKey, info: Uint8Array): Promise<HpkeSender> {
    return new HpkeSender(await agreeWith(recipient, info))
  }

  seal(plaintext: Uint8Array, aad: Uint8Array): Uint8Array {
    // Another message under the same number would be under the same nonce.
    if (this.#next > MAX_SEQUENCE) throw new RangeError('an HPKE context is used up')
    const sequence = encodeSequence(this.#next++)
    const { key, nonce } = this.#message
    const ciphertext = chacha20poly1305(key, nonceAt(nonce, sequence), aad).encrypt(plaintext)
    return concat(this.#enc, sequence, ciphertext)
  }

  /** Nothing can be sealed with it any more, nor opened with what is left of it. */
  wipe(): void {
    this.#message.key.fill(0)
    this.#next = MAX_SEQUENCE + 1
  }
}

/** One error for every cause. */
export const hpkeOpen = (
  recipient: PrivateKey,
  box: Uint8Array,
  context: Context,
  sender?: SealingKey,
): Promise<Result<SecretBytes, 'corrupt'>> => open(recipient, box, 0, context, sender)

/** What an `HpkeSender` has sealed, in any order. One error for every cause. */
export const hpkeOpenNumbered = (
  recipient: PrivateKey,
  box: Uint8Array,
  context: Context,
): Promise<Result<SecretBytes, 'corrupt'>> => open(recipient, box, SEQUENCE_BYTES, context)

/** @param sequenceBytes of its number; without any it is the first message. */
async function open(
  recipient: PrivateKey,
  box: Uint8Array,
  sequenceBytes: number,
  { info, aad }: Context,
  sender?: SealingKey,
): Promise<Result<SecretBytes, 'corrupt'>> {
  const begin = ENC_BYTES + sequenceBytes
  const enc = box.subarray(0, ENC_BYTES)
  try {
    const senderKey = sender && bytesOf(sender)
    const agreed = await agreeX25519(recipient.key, await importX25519Public(enc))
    const agreedToo = senderKey && (await agreeX25519(recipient.key, await importX25519Public(senderKey)))
    const message = keyOf(info, enc, recipient.publicKey, agreed, senderKey, agreedToo)
    const nonce = nonceAt(message.nonce, box.subarray(ENC_BYTES, begin))
    try {
      return ok(SecretBytes.take(chacha20poly1305(message.key, nonce, aad).decrypt(box.subarray(begin))))
    } finally {
      message.key.fill(0)
    }
  } catch {
    return err('corrupt')
  }
}

interface Agreed extends MessageKey {
  readonly enc: Uint8Array
}

async function agreeWith(recipient: SealingKey, info: Uint8Array, sender?: PrivateKey): Promise<Agreed> {
  const to = await receiverOf(recipient)
  const ephemeral = await generateX25519Pair()
  const agreed = await agreeX25519(ephemeral.privateKey, to.key)
  const agreedToo = sender && (await agreeX25519(sender.key, to.key))
  const enc = ephemeral.publicKey
  return { enc, ...keyOf(info, enc, to.bytes, agreed, sender?.publicKey, agreedToo) }
}

/** What was agreed on is wiped. */
function keyOf(
  info: Uint8Array,
  enc: Uint8Array,
  receiver: Uint8Array,
  agreed: Uint8Array,
  sender: Uint8Array = NOBODY,
  agreedToo: Uint8Array = NOBODY,
): MessageKey {
  const secret = concat(agreed, agreedToo)
  try {
    return messageKey(sender === NOBODY ? 'base' : 'auth', secret, concat(enc, receiver, sender), info)
  } finally {
    for (const bytes of [agreed, agreedToo, secret]) bytes.fill(0)
  }
}

function encodeSequence(number: number): Uint8Array {
  const bytes = new Uint8Array(SEQUENCE_BYTES)
  new DataView(bytes.buffer).setUint32(0, number)
  return bytes
}

/** ComputeNonce: the number, to the right end of the base nonce. */
function nonceAt(base: Uint8Array, sequence: Uint8Array): Uint8Array {
  const nonce = new Uint8Array(base)
  const left = nonce.length - sequence.length
  sequence.forEach((byte, index) => {
    nonce[left + index] = (nonce[left + index] ?? 0) ^ byte
  })
  return nonce
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
