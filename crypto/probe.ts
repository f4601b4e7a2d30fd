/**
 * Probes: the packets by which two nodes find out over which path they reach each other. They come to the port of WireGuard, and are told
 * from its packets by their first word: those begin with 1 to 4 and three zero bytes.
 *
 *     magic(4) || sender(8) || nonce(12) || ChaCha20-Poly1305(kind(1) || txid(12) || at(8) || length(1) || observed(47))
 *
 * Each direction of each pair has a key of its own, from the agreement of the two sealing keys: nobody else can make or read a probe, and
 * one that is sent back to its sender says nothing to it. All probes have one length, so that an answer is no larger than the question.
 */
import { chacha20poly1305 } from '@noble/ciphers/chacha.js'
import { expand, extract } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { Endpoint, type FleetId, type NodeId, type SealingKey } from '../protocol/ids.ts'
import { err, ok, type Result } from '../protocol/result.ts'
import { concat, fromBase64Url, fromUtf8, lengthPrefixed, randomBytes, toBase64Url, utf8 } from './bytes.ts'
import { DOMAIN } from './domains.ts'
import type { importSealingKey } from './hpke.ts'
import { SecretBytes } from './secret-bytes.ts'
import { agreeX25519, importX25519Public } from './x25519.ts'

type PrivateKey = Awaited<ReturnType<typeof importSealingKey>>

/** `CLWP` */
export const PROBE_MAGIC = Uint8Array.of(0x43, 0x4c, 0x57, 0x50)
const SENDER_BYTES = 8
const NONCE_BYTES = 12
const TXID_BYTES = 12
/** `[IPv6]:port` with eight full groups. */
const MAX_ENDPOINT_BYTES = 47
const PLAIN_BYTES = 1 + TXID_BYTES + 8 + 1 + MAX_ENDPOINT_BYTES
const HEADER_BYTES = PROBE_MAGIC.length + SENDER_BYTES
export const PROBE_BYTES = HEADER_BYTES + NONCE_BYTES + PLAIN_BYTES + 16

const KINDS = ['ping', 'pong'] as const

/** Both are answered and matched by `txid`, 12 random bytes in base64url. */
export type Probe =
  | {
      readonly kind: 'ping'
      readonly txid: string /** Unix ms by the sender's clock. */
      readonly at: number
    }
  | {
      readonly kind: 'pong'
      readonly txid: string /** Where the ping came from. */
      readonly observed: Endpoint
    }

export interface ProbeKeys {
  readonly send: SecretBytes
  readonly receive: SecretBytes
}

interface Pair {
  readonly fleet: FleetId
  readonly self: NodeId
  readonly peer: NodeId
}

/** Undefined for a peer's key with which there is no agreement. */
export async function probeKeys(
  privateKey: PrivateKey,
  peerKey: SealingKey,
  { fleet, self, peer }: Pair,
): Promise<ProbeKeys | undefined> {
  const raw = fromBase64Url(peerKey)
  if (raw === undefined) return undefined
  let shared: Uint8Array
  try {
    shared = await agreeX25519(privateKey.key, await importX25519Public(raw))
  } catch {
    return undefined
  }
  const secret = extract(sha256, shared)
  shared.fill(0)
  const key = (from: NodeId, to: NodeId) =>
    SecretBytes.take(expand(sha256, secret, concat(utf8(DOMAIN.probe), lengthPrefixed(fleet, from, to)), 32))
  const keys = { send: key(self, peer), receive: key(peer, self) }
  secret.fill(0)
  return keys
}

/** What a probe says of its sender in clear: enough for those who know the node, and nothing to others. In base64url. */
export const probeSender = (fleet: FleetId, node: NodeId): string =>
  toBase64Url(sha256(lengthPrefixed(DOMAIN.probeSender, fleet, node)).subarray(0, SENDER_BYTES))

export const newTxid = (): string => toBase64Url(randomBytes(TXID_BYTES))

/** Undefined if it is no probe. */
export function senderOf(packet: Uint8Array): string | undefined {
  if (packet.length !== PROBE_BYTES || !PROBE_MAGIC.every((byte, i) => packet[i] === byte)) return undefined
  return toBase64Url(packet.subarray(PROBE_MAGIC.length, HEADER_BYTES))
}

export function sealProbe(key: SecretBytes, sender: string, probe: Probe): Uint8Array {
  const header = concat(PROBE_MAGIC, bytesOf(sender, SENDER_BYTES))
  const nonce = randomBytes(NONCE_BYTES)
  return concat(header, nonce, chacha20poly1305(key.expose(), nonce, header).encrypt(encode(probe)))
}

export function openProbe(key: SecretBytes, packet: Uint8Array): Result<Probe, 'corrupt'> {
  if (packet.length !== PROBE_BYTES) return err('corrupt')
  const header = packet.subarray(0, HEADER_BYTES)
  const nonce = packet.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES)
  try {
    const plain = chacha20poly1305(key.expose(), nonce, header).decrypt(
      packet.subarray(HEADER_BYTES + NONCE_BYTES),
    )
    const probe = decode(plain)
    return probe === undefined ? err('corrupt') : ok(probe)
  } catch {
    return err('corrupt')
  }
}

function encode(probe: Probe): Uint8Array {
  const plain = new Uint8Array(PLAIN_BYTES)
  plain[0] = KINDS.indexOf(probe.kind)
  plain.set(bytesOf(probe.txid, TXID_BYTES), 1)
  const observed = utf8(probe.kind === 'pong' ? probe.observed : '')
  const view = new DataView(plain.buffer)
  view.setBigUint64(1 + TXID_BYTES, BigInt(probe.kind === 'ping' ? probe.at : 0))
  plain[PLAIN_BYTES - MAX_ENDPOINT_BYTES - 1] = observed.length
  plain.set(observed, PLAIN_BYTES - MAX_ENDPOINT_BYTES)
  return plain
}

function decode(plain: Uint8Array): Probe | undefined {
  const view = new DataView(plain.buffer, plain.byteOffset, plain.byteLength)
  const kind = KINDS[view.getUint8(0)]
  const txid = toBase64Url(plain.subarray(1, 1 + TXID_BYTES))
  if (kind === 'ping') {
    const at = Number(view.getBigUint64(1 + TXID_BYTES))
    return Number.isSafeInteger(at) ? { kind, txid, at } : undefined
  }
  const length = view.getUint8(PLAIN_BYTES - MAX_ENDPOINT_BYTES - 1)
  const text = plain.subarray(PLAIN_BYTES - MAX_ENDPOINT_BYTES).subarray(0, length)
  const observed = Endpoint.safeParse(fromUtf8(text))
  return kind === 'pong' && observed.success ? { kind, txid, observed: observed.data } : undefined
}

function bytesOf(text: string, length: number): Uint8Array {
  const bytes = fromBase64Url(text)
  if (bytes?.length !== length) throw new RangeError(`${length} bytes in base64url are needed`)
  return bytes
}
