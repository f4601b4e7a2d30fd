/**
 * The session's frames: JSON text, one object a frame, told apart by `type`. The heartbeat is not among them: it is the exact text
 * `ping`, answered `pong` by the runtime without waking anything.
 *
 * No frame names the node that sends it (the socket is bound to one), and none has a field for a private key.
 */
import * as z from 'zod'
import { ERRORS, type ErrorCode } from './errors.ts'
import { Cidr, FleetId, GatewayKey, Ipv4, NodeId, SealingKey, SecretName } from './ids.ts'
import {
  MAX_MESH_ANSWER_BYTES,
  MAX_MESH_LEASE_MS,
  MAX_NODE_ROUTES,
  MAX_PROOF_BYTES,
  MAX_SIGNAL_BYTES,
  MAX_SIGNALS_PER_FRAME,
  MIN_MESH_LEASE_MS,
} from './limits.ts'
import { MeshChanges, MeshPosition } from './mesh.ts'
import { MeshSummary } from './mesh-report.ts'
import { StunServers } from './stun-servers.ts'

export const PING = 'ping'
export const PONG = 'pong'

/** Close codes in the application range (RFC 6455, section 7.4.2). */
export const CLOSE = {
  normal: 1000,
  goingAway: 1001,
  failed: 1011,
  registerTimeout: 4001,
  violations: 4002,
  removed: 4003,
  quarantined: 4004,
  intercepted: 4005,
  superseded: 4009,
  leaseExpired: 4010,
  grantExpired: 4011,
  stalled: 4012,
} as const

const Percent = z.number().min(0).max(100)

/** What a node says of its health. Bounded, because the newest one lives in a socket attachment. */
export const Telemetry = z.strictObject({
  uptimeSeconds: z.number().nonnegative(),
  load1: z.number().nonnegative(),
  memoryTotalBytes: z.int().nonnegative(),
  memoryFreeBytes: z.int().nonnegative(),
  cpuPercent: Percent.optional(),
  mesh: z
    .strictObject({
      peers: z.int().nonnegative(),
      reachable: z.int().nonnegative(),
      summary: MeshSummary.optional(),
    })
    .optional(),
})
export type Telemetry = z.infer<typeof Telemetry>

const Sealed = z.string().regex(/^[A-Za-z0-9_-]+$/)
const SealedSignal = Sealed.max(MAX_SIGNAL_BYTES)
const MeshHash = z.string().regex(/^[A-Za-z0-9_-]{11}$/)
/** Of one question about a node's mesh, chosen by the one that asks. */
export const MeshRequestId = z.string().regex(/^[A-Za-z0-9_-]{22}$/)

export const RegisterFrame = z.strictObject({
  type: z.literal('register'),
  protocol: z.int().positive(),
  agent: z.string().min(1).max(64),
  /** Whether this node takes part in the mesh; without it, it is told of no peer and no peer of it. */
  mesh: z.boolean(),
  /** Raised by the node, and kept on disk, before each session: two machines with one identity cannot both raise it in step. */
  generation: z.int().positive(),
  /** JWS by the identity key over what the node saw of the connection (protocol/channel.ts). */
  channel: z.string().max(1024),
  /** The place in the change log up to which this node already has the map. */
  at: MeshPosition.optional(),
  /** Networks behind this node that it could route to; its owner has a say in that. */
  offers: z.array(Cidr).max(MAX_NODE_ROUTES).optional(),
})
export type RegisterFrame = z.infer<typeof RegisterFrame>

const TelemetryFrame = z.strictObject({
  type: z.literal('telemetry'),
  n: z.int().nonnegative(),
  telemetry: Telemetry,
})

export const SignalFrame = z.strictObject({
  type: z.literal('signal'),
  signals: z
    .array(z.strictObject({ to: NodeId, sealed: SealedSignal }))
    .min(1)
    .max(MAX_SIGNALS_PER_FRAME),
})

const MeshResyncFrame = z.strictObject({ type: z.literal('mesh_resync'), at: MeshPosition.optional() })

/** The interface is as the map was at this place of the log; `hash` (crypto/mesh-hash.ts) tells whether it is the map the gateway means. */
const MeshAckFrame = z.strictObject({
  type: z.literal('mesh_ack'),
  ...MeshPosition.shape,
  hash: MeshHash,
})
export type MeshAckFrame = z.infer<typeof MeshAckFrame>

/** To a question of the gateway's; `sealed` (crypto/mesh-answer.ts) is for whoever has asked it. */
const MeshAnswerFrame = z.strictObject({
  type: z.literal('mesh_answer'),
  request: MeshRequestId,
  sealed: Sealed.max(MAX_MESH_ANSWER_BYTES),
})

export type SignalFrame = z.infer<typeof SignalFrame>

/** What a node may ask for over its session, in place of a request of its own; always by POST. */
const SESSION_PATHS = ['/v1/node/secrets'] as const
export type SessionPath = (typeof SESSION_PATHS)[number]

/** A request with its proof (protocol/proof.ts), answered by the `answer` of the same `n`. */
export const RequestFrame = z.strictObject({
  type: z.literal('request'),
  n: z.int().nonnegative(),
  path: z.enum(SESSION_PATHS),
  proof: z.string().max(MAX_PROOF_BYTES),
  /** JSON. */
  body: z.string(),
})
export type RequestFrame = z.infer<typeof RequestFrame>

/** Frames a node may send. */
export const NodeFrame = z.discriminatedUnion('type', [
  RegisterFrame,
  TelemetryFrame,
  SignalFrame,
  MeshResyncFrame,
  MeshAckFrame,
  MeshAnswerFrame,
  RequestFrame,
])
export type NodeFrame = z.infer<typeof NodeFrame>

/** The gateway's signature over the session's transcript or an enrolment's answer (crypto/gateway-proof.ts). */
export const GatewayProof = z.strictObject({
  key: GatewayKey,
  signature: z.string().length(86),
  /** The key that will follow, announced in advance and signed by the present one. */
  next: z.strictObject({ key: GatewayKey, signature: z.string().length(86) }).optional(),
})
export type GatewayProof = z.infer<typeof GatewayProof>

const Settings = z.strictObject({
  /** At most ten minutes: a timer longer than 2^31 ms fires at once. */
  heartbeatMs: z.int().min(1_000).max(600_000),
  telemetryMs: z.int().min(1_000).max(600_000),
  /** STUN servers, `host:port`, that tell a node how it looks from outside. None: none is asked. */
  stun: StunServers,
  /** Origins (`wss://host[:port]`) of relays for nodes that do not reach each other; none where the owner has not turned one on. */
  relays: z.array(z.string().regex(/^wss:\/\/[^\s/]+$/)).max(8),
  /** How long the map may be used after the gateway was last heard, in ms. */
  leaseMs: z.int().min(MIN_MESH_LEASE_MS).max(MAX_MESH_LEASE_MS),
})
export type Settings = z.infer<typeof Settings>

const code = z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]])

/** To the request of that `n`: what it would have been answered over a connection of its own, and the signature on that. */
const AnswerFrame = z.strictObject({
  type: z.literal('answer'),
  n: z.int().nonnegative(),
  status: z.int(),
  body: z.string(),
  /** As the header `claw-signature` carries it. */
  signature: z.string(),
})
export type AnswerFrame = z.infer<typeof AnswerFrame>

/** Frames the gateway may send. Unknown types are ignored by the agent, so that a newer gateway can say more. */
export const GatewayFrame = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('registered'),
    protocol: z.int().positive(),
    settings: Settings,
    fleet: FleetId,
    ip4: Ipv4,
    /** The fleet's IPv4 range, which may have grown since the node joined. */
    ip4Range: z.string().optional(),
    time: z.int(),
    gateway: GatewayProof,
    /** This session took over from another of the same node, which was told and closed. */
    replaced: z.literal(true).optional(),
  }),
  z.strictObject({ type: z.literal('mesh'), ...MeshChanges.shape }),
  z.strictObject({ type: z.literal('signal'), from: NodeId, sealed: SealedSignal }),
  /** What are your pairs, those after `after`? Answered by `mesh_answer`, as is the next. */
  z.strictObject({
    type: z.literal('mesh_report'),
    request: MeshRequestId,
    sealTo: SealingKey,
    after: NodeId.optional(),
  }),
  /** How far is that peer, through the mesh? */
  z.strictObject({
    type: z.literal('mesh_ping'),
    request: MeshRequestId,
    sealTo: SealingKey,
    to: NodeId,
  }),
  z.strictObject({ type: z.literal('ack'), n: z.int().nonnegative() }),
  AnswerFrame,
  z.strictObject({ type: z.literal('revoked') }),
  /** The owner wants this node to make itself a new identity key (POST /v1/node/identity). */
  z.strictObject({ type: z.literal('rotate_identity') }),
  /** The owner wants this node to change to another WireGuard key (POST /v1/node/wireguard-key). */
  z.strictObject({ type: z.literal('rotate_wireguard') }),
  /** Networks behind the receiver, of those it offers, that its owner has approved: all of them, each time. */
  z.strictObject({ type: z.literal('routes'), approved: z.array(Cidr).max(MAX_NODE_ROUTES) }),
  /** A secret that this node may read has a new version, or another policy or state. Sent to all it concerns; one that was away asks at its next start. */
  z.strictObject({ type: z.literal('secret_changed'), name: SecretName, version: z.int().positive() }),
  z.strictObject({ type: z.literal('error'), code, message: z.string() }),
])
export type GatewayFrame = z.infer<typeof GatewayFrame>
/** A frame to which a node answers with `mesh_answer`. */
export type MeshQuestion = Extract<GatewayFrame, { type: 'mesh_report' | 'mesh_ping' }>
