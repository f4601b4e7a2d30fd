/** A node's id follows from its first identity key: the same key enrolling again can only be the same node. */
import { toBase32 } from '../protocol/base32.ts'
import { type IdentityKey, NodeId, type WireGuardKey } from '../protocol/ids.ts'
import { concat, fromBase64Url, sha256, utf8 } from './bytes.ts'
import { DOMAIN } from './domains.ts'

export async function nodeIdOf(key: IdentityKey): Promise<NodeId> {
  const bytes = fromBase64Url(key)
  if (bytes?.length !== 32) throw new TypeError('not an identity key')
  const digest = await sha256(concat(utf8(DOMAIN.nodeId), bytes))
  return NodeId.parse(toBase32(digest.subarray(0, 16)))
}

/** A device without an agent has no identity key; its id follows from the WireGuard key that is all it has. */
export async function externalPeerIdOf(key: WireGuardKey): Promise<NodeId> {
  const bytes = fromBase64Url(key)
  if (bytes?.length !== 32) throw new TypeError('not a WireGuard key')
  const digest = await sha256(concat(utf8(DOMAIN.externalPeer), bytes))
  return NodeId.parse(toBase32(digest.subarray(0, 16)))
}
