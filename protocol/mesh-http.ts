/** Bodies of /v1/mesh, as both sides see them. Times are RFC 3339 in UTC. */
import * as z from 'zod'
import { MeshRequestId } from './frames.ts'
import { NodeStatus } from './http.ts'
import { FleetId, Ipv4, Ipv6, NodeId, NodeName, SealingKey, Tags, WireGuardKey } from './ids.ts'
import { MeshPosition } from './mesh.ts'
import { MeshSummary } from './mesh-report.ts'

const Time = z.iso.datetime()

/** How far a node is behind the gateway: nothing, or so many entries of the log, of which it was owed the first since then. */
const Behind = z.object({ entries: z.int().nonnegative(), since: Time.nullable() })

export const MeshStatusItem = z.object({
  id: NodeId,
  name: NodeName,
  status: NodeStatus,
  /** Where the node's interface is in the log; null if it is not connected, or has not said so. */
  at: MeshPosition.nullable(),
  behind: Behind.nullable(),
  /** Whether the map it acknowledged is the one the gateway means; `unknown` while it is behind. */
  hash: z.enum(['ok', 'wrong', 'unknown']),
  peers: z.int().nonnegative().nullable(),
  reachable: z.int().nonnegative().nullable(),
  summary: MeshSummary.optional(),
})
export type MeshStatusItem = z.infer<typeof MeshStatusItem>

/** GET /v1/mesh/status: the nodes that take part, by name; `next` is the cursor of the following page. */
export const MeshStatusList = z.object({
  head: MeshPosition,
  items: z.array(MeshStatusItem),
  next: z.string().optional(),
})
export type MeshStatusList = z.infer<typeof MeshStatusList>

/** Who asks: a key made for this one question, and the question's id. */
const Asker = { sealTo: SealingKey, request: MeshRequestId }

/** POST /v1/mesh/report */
export const MeshReportBody = z.strictObject({ node: NodeName, after: NodeId.optional(), ...Asker })
export type MeshReportBody = z.infer<typeof MeshReportBody>

/** POST /v1/mesh/ping */
export const MeshPingBody = z.strictObject({ from: NodeName, to: NodeName, ...Asker })
export type MeshPingBody = z.infer<typeof MeshPingBody>

/** What the node has sealed, and by which key it is known to be the node's. */
export const MeshAnswerReply = z.object({
  fleet: FleetId,
  node: z.object({ id: NodeId, name: NodeName, sealing: SealingKey }),
  sealed: z.string(),
})
export type MeshAnswerReply = z.infer<typeof MeshAnswerReply>

/** POST /v1/mesh/peers: a device without an agent. Its private key is made, and stays, where its configuration is. */
export const PeerCreateBody = z.strictObject({ name: NodeName, wg: WireGuardKey, tags: Tags.default([]) })
export type PeerCreateBody = z.input<typeof PeerCreateBody>

export const PeerItem = z.object({
  id: NodeId,
  name: NodeName,
  wg: WireGuardKey,
  ipv4: Ipv4,
  ipv6: Ipv6,
  tags: Tags,
  createdAt: Time,
})
export type PeerItem = z.infer<typeof PeerItem>
export const PeerList = z.object({ items: z.array(PeerItem), next: z.string().optional() })
