/** Which session shard holds a node: a fixed set of virtual shards, so that no directory is needed. */
import { fromBase32 } from './base32.ts'
import type { NodeId } from './ids.ts'

/**
 * The name carries a version: the count is never changed in place, because nodes would be looked for where they are not.
 * A node id is already the output of a hash, so its last four bytes spread evenly.
 */
export function shardName(node: NodeId, shards: number): string {
  const bytes = fromBase32(node)
  const hash = new DataView(bytes.buffer).getUint32(bytes.length - 4)
  return nameOfShard(hash % shards)
}

export const allShardNames = (shards: number): string[] =>
  Array.from({ length: shards }, (_, index) => nameOfShard(index))

const nameOfShard = (index: number): string => `shard:v1:${String(index).padStart(3, '0')}`
