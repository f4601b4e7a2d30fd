/** The mesh map: what a node must know of its peers, and the changes by which it follows. Slow data only, never endpoints. */
import * as z from 'zod'
import { Ipv4, NodeId, NodeName, SealingKey, Tags, WireGuardKey } from './ids.ts'

/** One peer. Its IPv6 address is not sent: it follows from the fleet and node ids. */
export const MeshPeer = z.strictObject({
  id: NodeId,
  name: NodeName,
  wg: WireGuardKey,
  seal: SealingKey,
  ip4: Ipv4,
  tags: Tags.optional(),
})
export type MeshPeer = z.infer<typeof MeshPeer>

/** A place in the change log. The epoch changes when a log is begun anew, and makes every older place void. */
export const MeshPosition = z.strictObject({ epoch: z.string().min(1).max(32), seq: z.int().nonnegative() })
export type MeshPosition = z.infer<typeof MeshPosition>

/**
 * Changes that lead from `from` to `to`; a peer is in `put` or `del`, never both. With `from` absent it is (the first part of) a
 * snapshot and replaces the map; `more` says that further parts follow before the map is whole.
 */
export const MeshChanges = z.strictObject({
  epoch: z.string().min(1).max(32),
  from: z.int().nonnegative().optional(),
  to: z.int().nonnegative(),
  put: z.array(MeshPeer).optional(),
  del: z.array(NodeId).optional(),
  more: z.literal(true).optional(),
})
export type MeshChanges = z.infer<typeof MeshChanges>
