/**
 * What a relay's socket remembers across hibernation, in its attachment, which holds 16 384 bytes: ids are packed, since 256 peers and their
 * indexes would not fit as text. Versioned, because sockets outlive the code that accepted them.
 */
import * as z from 'zod'
import { packNodes, unpackNodes } from '../crypto/relay-grant.ts'
import { NodeId } from '../protocol/ids.ts'
import type { MemberState } from '../relay/member.ts'

const RelayAttachment = z.object({
  v: z.literal(1),
  node: NodeId,
  /** Of the grant: the peers, 16 bytes each, what the node may send, and from when to when. */
  peers: z.instanceof(Uint8Array),
  rate: z.object({ bytes: z.int(), packets: z.int() }),
  issuedAt: z.int(),
  until: z.int(),
  /** Opened peers, 16 bytes each, and their indexes in the same order. */
  opened: z.instanceof(Uint8Array),
  indexes: z.instanceof(Uint16Array),
  nextIndex: z.int(),
  violations: z.int(),
})

export function writeRelayAttachment(socket: WebSocket, state: MemberState): void {
  const { node, allowance, opened, nextIndex, violations } = state
  socket.serializeAttachment({
    v: 1,
    node,
    ...allowance,
    peers: new Uint8Array(packNodes(allowance.peers)),
    opened: new Uint8Array(packNodes(opened.map(([peer]) => peer))),
    indexes: Uint16Array.from(opened, ([, index]) => index),
    nextIndex,
    violations,
  } satisfies z.infer<typeof RelayAttachment>)
}

/** Undefined for a socket that another version of this code accepted in a way no longer understood. */
export function readRelayAttachment(socket: WebSocket): MemberState | undefined {
  const parsed = RelayAttachment.safeParse(socket.deserializeAttachment())
  if (!parsed.success) return undefined
  const { node, peers, rate, issuedAt, until, opened, indexes, nextIndex, violations } = parsed.data
  return {
    node,
    allowance: { peers: unpackNodes(peers), rate, issuedAt, until },
    opened: unpackNodes(opened).map((peer, at) => [peer, indexes[at] ?? 0] as const),
    nextIndex,
    violations,
  }
}
