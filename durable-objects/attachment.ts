/**
 * What a session remembers across hibernation: kept in the socket's attachment (16 384 bytes at most), which costs no row. Versioned,
 * because sockets outlive the code that accepted them.
 */
import * as z from 'zod'
import { Telemetry } from '../protocol/frames.ts'
import { NodeId, SessionId } from '../protocol/ids.ts'
import { MeshPosition } from '../protocol/mesh.ts'

const Attachment = z.object({
  v: z.literal(2),
  node: NodeId,
  session: SessionId,
  /** `jti` of the upgrade's proof. */
  proof: z.string(),
  openedAt: z.int(),
  /** Last frame that reached the object; heartbeats do not, the runtime keeps their time itself. */
  seenAt: z.int(),
  /** `registering` while the fleet is asked; no other frame is accepted meanwhile. */
  state: z.enum(['opened', 'registering', 'live', 'closing']),
  violations: z.int(),
  /** Place in the mesh log up to which this socket was sent everything; absent if it does not listen. */
  mesh: MeshPosition.optional(),
  /** The class of nodes it belongs to, which decides what it is sent; absent: 0. */
  audience: z.int().nonnegative().optional(),
  /** Hash of the map as it is meant to be at that place. */
  meant: z.string().optional(),
  /** The newest `mesh_ack`, and, where nothing was on its way meanwhile, whether its map was the one that was meant. */
  ack: MeshPosition.extend({ at: z.int(), verdict: z.enum(['ok', 'wrong']).optional() }).optional(),
  /** Set once the node was sent the whole map because the one it had was another. */
  diverged: z.literal(true).optional(),
  telemetry: Telemetry.optional(),
})
export type Attachment = z.infer<typeof Attachment>

/** Undefined for a socket that another version of this code accepted in a way no longer understood. */
export function readAttachment(socket: WebSocket): Attachment | undefined {
  const parsed = Attachment.safeParse(socket.deserializeAttachment())
  return parsed.success ? parsed.data : undefined
}

export function updateAttachment(
  socket: WebSocket,
  current: Attachment,
  change: Partial<Attachment>,
): Attachment {
  const next = { ...current, ...change }
  socket.serializeAttachment(next)
  return next
}
