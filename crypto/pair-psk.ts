/**
 * The pre-shared key of two nodes from one ML-KEM-768 exchange (FIPS 203): what WireGuard mixes into its handshakes, so that whoever records the
 * traffic today, and one day breaks X25519, still lacks a key. The exchange itself travels in sealed signals, which vouch for both ends.
 */
import { hkdf } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import type { FleetId, NodeId, WireGuardKey } from '../protocol/ids.ts'
import { lengthPrefixed, toBase64Url, utf8 } from './bytes.ts'
import { DOMAIN } from './domains.ts'
import { SecretBytes } from './secret-bytes.ts'

const KEY_BYTES = 32

interface Side {
  readonly id: NodeId
  readonly wg: WireGuardKey
}

/** What both nodes must mean alike. */
export interface PskExchange {
  readonly fleet: FleetId
  /** The node that made the encapsulation key: the one with the smaller id. */
  readonly initiator: Side
  readonly responder: Side
  /** Both in base64url, as they were sent. */
  readonly encapsulationKey: string
  readonly ciphertext: string
}

export interface AgreedPsk {
  readonly psk: SecretBytes
  /** By which each side shows that it has the same key, before the other relies on it. */
  readonly initiatorTag: string
  readonly responderTag: string
}

/** @param shared the KEM's secret, 32 bytes. */
export function agreePsk(
  shared: Uint8Array,
  { fleet, initiator, responder, encapsulationKey, ciphertext }: PskExchange,
): AgreedPsk {
  if (shared.length !== KEY_BYTES) throw new RangeError('an ML-KEM secret has 32 bytes')
  const context = lengthPrefixed(
    fleet,
    initiator.id,
    responder.id,
    initiator.wg,
    responder.wg,
    encapsulationKey,
    ciphertext,
  )
  const all = hkdf(sha256, shared, utf8(DOMAIN.psk), context, 3 * KEY_BYTES)
  const part = (index: number) => all.slice(index * KEY_BYTES, (index + 1) * KEY_BYTES)
  const agreed = {
    psk: SecretBytes.take(part(0)),
    initiatorTag: toBase64Url(part(1)),
    responderTag: toBase64Url(part(2)),
  }
  all.fill(0)
  return agreed
}
