/**
 * What a node says of its own mesh when it is asked: sealed to whoever asked, so that the gateway carries it without reading where nodes are
 * (crypto/mesh-answer.ts). In its telemetry it says, in clear, only how many peers it has by which path and which pairs are worst.
 */
import * as z from 'zod'
import { Endpoint, NodeId } from './ids.ts'
import { MAX_WORST_PAIRS } from './limits.ts'

/** How packets get to a peer, the best first. */
export const MeshPath = z.enum(['lan', 'direct', 'punched', 'relay', 'none'])
export type MeshPath = z.infer<typeof MeshPath>

/** Machine-readable: why the path is not a better one. */
const Reason = z.string().regex(/^[a-z0-9_-]{1,48}$/)

/** Pairs by path, and those that most want looking at: no path before a relayed one. Neither says where a node is. */
export const MeshSummary = z.strictObject({
  paths: z.partialRecord(MeshPath, z.int().nonnegative()),
  worst: z
    .array(
      z.strictObject({
        peer: NodeId,
        path: MeshPath,
        reason: Reason.optional(),
        latencyMs: z.number().nonnegative().optional(),
      }),
    )
    .max(MAX_WORST_PAIRS),
})
export type MeshSummary = z.infer<typeof MeshSummary>

/** One peer as the reporting node sees it. */
export const PairReport = z.strictObject({
  peer: NodeId,
  path: MeshPath,
  endpoint: Endpoint.nullable(),
  /** Unix seconds, as WireGuard has it. Null for never. */
  lastHandshake: z.int().positive().nullable(),
  rxBytes: z.int().nonnegative(),
  txBytes: z.int().nonnegative(),
  latencyMs: z.number().nonnegative().optional(),
  reason: Reason.optional(),
  /** For people: what would help. */
  hint: z
    .string()
    .regex(/^[ -~]{1,200}$/)
    .optional(),
})
export type PairReport = z.infer<typeof PairReport>

/** Answer to `mesh_report`: one page of pairs, in order of peer id. */
export const MeshReport = z.strictObject({
  kind: z.literal('report'),
  /** Where anybody on the Internet reaches this node. */
  open: z.array(Endpoint).max(8),
  pairs: z.array(PairReport),
  /** The last peer of this page, if there are more. */
  next: NodeId.optional(),
})
export type MeshReport = z.infer<typeof MeshReport>

/** Answer to `mesh_ping`. */
export const MeshPing = z.strictObject({
  kind: z.literal('ping'),
  sent: z.int().nonnegative(),
  received: z.int().nonnegative(),
  /** Of the echoes that came back. */
  rttMs: z
    .strictObject({
      min: z.number().nonnegative(),
      avg: z.number().nonnegative(),
      max: z.number().nonnegative(),
    })
    .optional(),
  /** Of the pair, as it was after the echoes. */
  pair: PairReport,
})
export type MeshPing = z.infer<typeof MeshPing>

/** Why a node does not answer what it was asked. */
export const MeshRefusal = z.strictObject({
  kind: z.literal('refusal'),
  /** `unknown_peer`: the map names no such peer, because no rule lets the two talk or because it is not in the mesh. */
  code: z.enum(['unknown_peer', 'no_ping_program', 'ping_failed']),
})
export type MeshRefusal = z.infer<typeof MeshRefusal>

export const MeshAnswer = z.discriminatedUnion('kind', [MeshReport, MeshPing, MeshRefusal])
export type MeshAnswer = z.infer<typeof MeshAnswer>
