/**
 * STUN (RFC 8489) as far as a node asks it: a Binding request without credentials, and the answer that says where it came from. Pure.
 */
import { randomBytes, toBase64Url } from '../../../crypto/bytes.ts'
import { crc32 } from '../../../crypto/crc32.ts'
import type { Endpoint } from '../../../protocol/ids.ts'
import { formatEndpoint } from '../endpoint-form.ts'

export const STUN_COOKIE = 0x2112a442
const BINDING_REQUEST = 0x0001
const BINDING_SUCCESS = 0x0101
const HEADER_BYTES = 20
const TXID_BYTES = 12
const MAPPED_ADDRESS = 0x0001
const XOR_MAPPED_ADDRESS = 0x0020
const FINGERPRINT = 0x8028
const FINGERPRINT_XOR = 0x5354554e
/** Those below must be understood, or the message is not (section 6.3.3); of those beside the address the credentials say nothing to us. */
const OPTIONAL = 0x8000
const UNDERSTOOD = [MAPPED_ADDRESS, XOR_MAPPED_ADDRESS, 0x0006, 0x0008, 0x001c, 0x0014, 0x0015]

export interface BindingRequest {
  readonly txid: string
  readonly packet: Uint8Array
}

export function bindingRequest(): BindingRequest {
  const txid = randomBytes(TXID_BYTES)
  const packet = new Uint8Array(HEADER_BYTES)
  const view = new DataView(packet.buffer)
  view.setUint16(0, BINDING_REQUEST)
  view.setUint32(4, STUN_COOKIE)
  packet.set(txid, 8)
  return { txid: toBase64Url(txid), packet }
}

export interface BindingAnswer {
  readonly txid: string
  readonly mapped: Endpoint
}

/** Undefined if it is anything else than a whole and successful answer. */
export function parseBindingAnswer(packet: Uint8Array): BindingAnswer | undefined {
  if (packet.length < HEADER_BYTES) return undefined
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength)
  if (view.getUint16(0) !== BINDING_SUCCESS || view.getUint32(4) !== STUN_COOKIE) return undefined
  if (view.getUint16(2) !== packet.length - HEADER_BYTES || packet.length % 4 !== 0) return undefined
  const attributes = readAttributes(view)
  if (attributes === undefined) return undefined
  const of = (wanted: number) => attributes.find(({ type }) => type === wanted)?.value
  const [xored, plain] = [of(XOR_MAPPED_ADDRESS), of(MAPPED_ADDRESS)]
  const mask = packet.subarray(4, HEADER_BYTES)
  const mapped = xored ? readAddress(xored, mask) : plain && readAddress(plain, new Uint8Array(mask.length))
  return mapped && { txid: toBase64Url(packet.subarray(8, HEADER_BYTES)), mapped }
}

interface Attribute {
  readonly type: number
  readonly value: Uint8Array
}

function readAttributes(view: DataView): Attribute[] | undefined {
  const attributes: Attribute[] = []
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
  for (let at = HEADER_BYTES; at < view.byteLength; ) {
    const [type, length] = [view.getUint16(at), view.getUint16(at + 2)]
    const next = at + 4 + length + ((4 - (length % 4)) % 4)
    if (next > view.byteLength) return undefined
    if (type < OPTIONAL && !UNDERSTOOD.includes(type)) return undefined
    if (type === FINGERPRINT) {
      const expected = (crc32(bytes.subarray(0, at)) ^ FINGERPRINT_XOR) >>> 0
      // It is the last one wherever there is one (section 14.7).
      if (length !== 4 || view.getUint32(at + 4) !== expected || next !== view.byteLength) return undefined
    }
    attributes.push({ type, value: bytes.subarray(at + 4, at + 4 + length) })
    at = next
  }
  return attributes
}

function readAddress(value: Uint8Array, mask: Uint8Array): Endpoint | undefined {
  const [, family, high = 0, low = 0] = value
  const port = ((high ^ (mask[0] ?? 0)) << 8) | (low ^ (mask[1] ?? 0))
  const bytes = [...value.subarray(4)].map((byte, i) => byte ^ (mask[i] ?? 0))
  if (port === 0) return undefined
  if (family === 1 && bytes.length === 4) return formatEndpoint(bytes.join('.'), port)
  if (family !== 2 || bytes.length !== 16) return undefined
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16),
  )
  return formatEndpoint(groups.join(':'), port)
}
