/** A node's id follows from its first identity key: the same key enrolling again can only be the same node. */
import { toBase32 } from '../protocol/base32.ts'
import { type IdentityKey, NodeId } from '../protocol/ids.ts'
import { concat, fromBase64Url, sha256, utf8 } from './bytes.ts'
import { DOMAIN } from './domains.ts'

export async function nodeIdOf(key: IdentityKey): Promise<NodeId> {
  const bytes = fromBase64Url(key)
  if (bytes?.length !== 32) throw new TypeError('not an identity key')
  const digest = await sha256(concat(utf8(DOMAIN.nodeId), bytes))
  return NodeId.parse(toBase32(digest.subarray(0, 16)))
}
