/**
 * The relay's messages: how opaque WireGuard packets of nodes that do not reach each other travel over a WebSocket.
 *
 * Binary messages are packets, many in one: `u16 peer index, u16 length, bytes`, big-endian, again and again. The index is the peer to whom
 * the packet goes, or from whom it comes, and holds for this socket alone. Text messages are JSON and agree on the indexes. Beside them there is
 * the heartbeat of the session: the text `ping`, answered `pong`.
 */
import * as z from 'zod'
import { fromBase32 } from './base32.ts'
import { ERRORS, type ErrorCode } from './errors.ts'
import { NodeId } from './ids.ts'
import { MAX_RELAY_GRANT_BYTES, MAX_RELAY_MESSAGE_BYTES, MAX_RELAY_PACKET_BYTES } from './limits.ts'

/** The protocol's version is in the name of the WebSocket's subprotocol. */
export const RELAY_SUBPROTOCOL = 'claw-relay.v1'
export const RELAY_PATH = '/v1/relay'
/** The upgrade carries the grant here, and the proof that the node holds its key in `authorization`. */
export const RELAY_GRANT_HEADER = 'claw-relay-grant'

const Mark = z.string().min(1).max(32)
const Index = z.int().min(0).max(0xffff)

/** What a node says to the relay. */
export const RelayRequest = z.discriminatedUnion('type', [
  /** Packets may be exchanged with this peer, as soon as it says the same. */
  z.strictObject({ type: z.literal('open'), peer: NodeId }),
  z.strictObject({ type: z.literal('close'), peer: NodeId }),
  /** Another grant in place of the one in force. */
  z.strictObject({ type: z.literal('grant'), grant: z.string().max(MAX_RELAY_GRANT_BYTES) }),
  /** Everything before this mark has arrived. */
  z.strictObject({ type: z.literal('mark'), mark: Mark }),
])
export type RelayRequest = z.infer<typeof RelayRequest>

/** `absent`: it has not opened this end yet, or no longer. `refused`: the grant of one of the two does not name the other, or has ended. */
const ClosedReason = z.enum(['absent', 'refused'])
export type ClosedReason = z.infer<typeof ClosedReason>

const code = z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]])

/** What the relay says to a node. Unknown types are ignored, so that a newer relay can say more. */
export const RelayReply = z.discriminatedUnion('type', [
  /** Both ends have opened: this is the peer's index on this socket. */
  z.strictObject({ type: z.literal('opened'), peer: NodeId, index: Index }),
  z.strictObject({ type: z.literal('closed'), peer: NodeId, reason: ClosedReason }),
  /** The peer, which this node has not opened, would like to talk. */
  z.strictObject({ type: z.literal('asked'), peer: NodeId }),
  z.strictObject({ type: z.literal('granted'), until: z.int() }),
  z.strictObject({ type: z.literal('mark'), mark: Mark }),
  z.strictObject({ type: z.literal('error'), code, message: z.string() }),
])
export type RelayReply = z.infer<typeof RelayReply>

export interface RelayPacket {
  readonly index: number
  readonly bytes: Uint8Array
}

const HEADER_BYTES = 4

/** Bytes that a packet takes in a message. */
export const packetSize = ({ length }: Uint8Array): number => HEADER_BYTES + length

/** The packets are views of the message. Undefined if it is anything else than packets, at least one and none empty. */
export function decodePackets(message: Uint8Array): RelayPacket[] | undefined {
  if (message.length > MAX_RELAY_MESSAGE_BYTES) return undefined
  const packets: RelayPacket[] = []
  for (let at = 0; at < message.length; ) {
    if (message.length - at < HEADER_BYTES) return undefined
    const index = ((message[at] ?? 0) << 8) | (message[at + 1] ?? 0)
    const length = ((message[at + 2] ?? 0) << 8) | (message[at + 3] ?? 0)
    at += HEADER_BYTES
    if (length === 0 || length > MAX_RELAY_PACKET_BYTES || length > message.length - at) return undefined
    packets.push({ index, bytes: message.subarray(at, at + length) })
    at += length
  }
  return packets.length === 0 ? undefined : packets
}

/** All of it in one message; how much that may be is for the caller to see to. */
export function encodePackets(packets: readonly RelayPacket[]): Uint8Array<ArrayBuffer> {
  const message = new Uint8Array(packets.reduce((sum, { bytes }) => sum + packetSize(bytes), 0))
  let at = 0
  for (const { index, bytes } of packets) {
    message[at] = index >> 8
    message[at + 1] = index
    message[at + 2] = bytes.length >> 8
    message[at + 3] = bytes.length
    message.set(bytes, at + HEADER_BYTES)
    at += packetSize(bytes)
  }
  return message
}

/** In which of `shards` parts of a relay two nodes meet, whichever of them asks. Ids are output of a hash, so their last bytes spread evenly. */
export function pairShard(a: NodeId, b: NodeId, shards: number): number {
  return ((lastWord(a) ^ lastWord(b)) >>> 0) % shards
}

/** The name carries a version: the count is never changed in place, because pairs would look for each other where they are not. */
export const relayShardName = (shard: number): string => `relay:v1:${String(shard).padStart(3, '0')}`

export const allRelayShardNames = (shards: number): string[] =>
  Array.from({ length: shards }, (_, shard) => relayShardName(shard))

function lastWord(node: NodeId): number {
  const bytes = fromBase32(node)
  return new DataView(bytes.buffer).getUint32(bytes.length - 4)
}
