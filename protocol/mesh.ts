/** The mesh map: what a node must know of its peers, and the changes by which it follows. Slow data only, never endpoints. */
import * as z from 'zod'
import { Cidr, Ipv4, NodeId, NodeName, SealingKey, Tags, WireGuardKey } from './ids.ts'
import { MAX_MESH_RULES, MAX_NODE_ROUTES, MAX_RULE_PORTS } from './limits.ts'

/** One peer. Its IPv6 address is not sent: it follows from the fleet and node ids. */
export const MeshPeer = z.strictObject({
  id: NodeId,
  name: NodeName,
  wg: WireGuardKey,
  /** Absent for a peer without an agent: it is told nothing, and nothing is heard from it. */
  seal: SealingKey.optional(),
  ip4: Ipv4,
  tags: Tags.optional(),
  /** The WireGuard key it will change to, announced before it is used. */
  next: WireGuardKey.optional(),
  /** Networks behind it that the owner has approved. */
  routes: z.array(Cidr).min(1).max(MAX_NODE_ROUTES).optional(),
  /** The nodes that the policy does not tell apart form a class; what this one may send to the receiver is said by `rules`. Absent: 0. */
  class: z.int().nonnegative().optional(),
})
export type MeshPeer = z.infer<typeof MeshPeer>

const Port = z.int().min(1).max(65_535)

/** Ports of a protocol, from first to last; for `icmp` and `any` there are none to name. */
export const MeshPorts = z.strictObject({
  proto: z.enum(['tcp', 'udp', 'icmp', 'any']),
  ports: z
    .array(z.tuple([Port, Port]))
    .min(1)
    .max(MAX_RULE_PORTS)
    .optional(),
})
export type MeshPorts = z.infer<typeof MeshPorts>

/**
 * What peers of some classes may send to the receiver, or, with `to`, into networks behind it. What no rule allows is dropped; answers to
 * what was allowed are not asked about.
 */
export const MeshRule = z.strictObject({
  from: z.array(z.int().nonnegative()).min(1),
  to: z.array(Cidr).min(1).optional(),
  allow: z.array(MeshPorts).min(1),
})
export type MeshRule = z.infer<typeof MeshRule>

/** A place in the change log. The epoch changes when a log is begun anew, and makes every older place void. */
export const MeshPosition = z.strictObject({ epoch: z.string().min(1).max(32), seq: z.int().nonnegative() })
export type MeshPosition = z.infer<typeof MeshPosition>

/**
 * Changes that lead from `from` to `to`; a peer is in `put` or `del`, never both. With `from` absent it is (the first part of) a
 * snapshot and replaces the map. `more` says that further parts with the same `from` and `to` follow, and that all of them take effect together.
 */
export const MeshChanges = z.strictObject({
  epoch: z.string().min(1).max(32),
  from: z.int().nonnegative().optional(),
  to: z.int().nonnegative(),
  put: z.array(MeshPeer).optional(),
  del: z.array(NodeId).optional(),
  more: z.literal(true).optional(),
  /** The receiver's rules from `to` on, instead of those before. Null, and absent in a snapshot: there is no policy, and everything within the fleet is allowed. */
  rules: z.array(MeshRule).max(MAX_MESH_RULES).nullable().optional(),
})
export type MeshChanges = z.infer<typeof MeshChanges>
