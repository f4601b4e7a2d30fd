/** Bodies of the HTTP API under /v1, as both sides see them. Times are RFC 3339 in UTC. */
import * as z from 'zod'
import { GatewayProof, Telemetry } from './frames.ts'
import {
  FleetId,
  IdentityKey,
  Ipv4,
  Ipv6,
  NodeId,
  NodeName,
  SealingKey,
  Tags,
  TokenId,
  WireGuardKey,
} from './ids.ts'
import { MAX_RELAY_GRANT_BYTES, MAX_RELAY_PEERS, MAX_TOKEN_TTL_MS, MAX_TOKEN_USES } from './limits.ts'

const Time = z.iso.datetime()

// Enrolment: POST /v1/enrol, `Authorization: Bearer <join token>`

/** The body is a JWS by the identity key, which its header carries as `jwk`: that is the proof of possession. */
export const EnrolBody = z.strictObject({ request: z.string().max(8192) })
export const ENROL_JWT_TYPE = 'claw-enrol+jwt'

/** Payload of that JWS, beside the registered claims `aud`, `iat` and `exp`. */
export const EnrolClaims = z.object({
  name: NodeName,
  wg: WireGuardKey,
  seal: SealingKey,
  agent: z.string().min(1).max(64),
  /** SHA-256 of the join token, base64url: a signed request cannot be presented with another token. */
  token: z.string().length(43),
})
export type EnrolClaims = z.infer<typeof EnrolClaims>

export const EnrolReply = z.object({
  id: NodeId,
  name: NodeName,
  fleet: FleetId,
  fleetName: z.string(),
  ipv4: Ipv4,
  ipv4Range: z.string(),
  ipv6: Ipv6,
  ipv6Range: z.string(),
  tags: Tags,
  /** Signed for this one enrolment (crypto/gateway-proof.ts). */
  gateway: GatewayProof,
})
export type EnrolReply = z.infer<typeof EnrolReply>

// Join tokens: /v1/tokens

export const TokenCreateBody = z.strictObject({
  tags: Tags.default([]),
  ttlMs: z
    .int()
    .min(1_000)
    .max(MAX_TOKEN_TTL_MS)
    .default(10 * 60_000),
  uses: z.int().min(1).max(MAX_TOKEN_USES).default(1),
})
export type TokenCreateBody = z.input<typeof TokenCreateBody>

export const TokenCreateReply = z.object({ token: z.string(), id: TokenId, expiresAt: Time })
export const JOIN_JWT_TYPE = 'claw-join+jwt'

const TokenStatus = z.enum(['valid', 'expired', 'used_up', 'revoked'])
export const TokenItem = z.object({
  id: TokenId,
  status: TokenStatus,
  tags: Tags,
  uses: z.int(),
  used: z.int(),
  createdAt: Time,
  expiresAt: Time,
})
export type TokenItem = z.infer<typeof TokenItem>
export const TokenList = z.object({ items: z.array(TokenItem) })

// Nodes: /v1/nodes

export const NodeStatus = z.enum(['online', 'suspect', 'offline', 'quarantined'])
export type NodeStatus = z.infer<typeof NodeStatus>

export const NodeItem = z.object({
  id: NodeId,
  name: NodeName,
  status: NodeStatus,
  ipv4: Ipv4,
  ipv6: Ipv6,
  tags: Tags,
  mesh: z.boolean(),
  agent: z.string(),
  createdAt: Time,
  /** Null for a node that never connected. */
  lastSeen: Time.nullable(),
  /** Why the node is held in quarantine, for one that is. */
  quarantine: z.string().optional(),
  telemetry: Telemetry.optional(),
  keys: z.object({ identity: IdentityKey, wireguard: WireGuardKey, sealing: SealingKey }),
  /** Index of the audit entry that says these keys (protocol/node-key-entry.ts). */
  entry: z.int().nonnegative().nullable(),
})
export type NodeItem = z.infer<typeof NodeItem>
/** `next` is the cursor of the following page, absent on the last. */
export const NodeList = z.object({ items: z.array(NodeItem), next: z.string().optional() })
export type NodeList = z.infer<typeof NodeList>

/** POST /v1/nodes/NAME/quarantine */
export const QuarantineBody = z.strictObject({ reason: z.string().min(1).max(256).default('by its owner') })

/** PUT /v1/nodes/NAME/ip */
export const NodeIpBody = z.strictObject({ ip4: Ipv4 })
/** POST /v1/node/relay-grant: what a node would like to be allowed at one of the relays it was told of. */
export const RelayGrantBody = z.strictObject({
  relay: z
    .string()
    .regex(/^wss:\/\/[^\s/]+$/)
    .max(256),
  peers: z.array(NodeId).min(1).max(MAX_RELAY_PEERS),
})
export const RelayGrantReply = z.object({
  grant: z.string().max(MAX_RELAY_GRANT_BYTES),
  /** Those of the peers that it names. */
  peers: z.array(NodeId),
  /** Unix ms, by the gateway's clock. */
  until: z.int(),
})
export type RelayGrantReply = z.infer<typeof RelayGrantReply>

/** POST /v1/node/identity, signed by the old key: a JWS by the new one, whose `jwk` header it is, over ROTATION_CLAIMS. */
export const IdentityRotateBody = z.strictObject({ request: z.string().max(2048) })
export const IdentityRotateReply = z.object({ identity: IdentityKey })
export const ROTATION_JWT_TYPE = 'claw-rotation+jwt'
/**
 * POST /v1/node/wireguard-key. `announce`: peers are told that this key will follow; `use`: the interface has it by now, and the one before is
 * destroyed. Each may be said twice.
 */
export const WireguardKeyBody = z.strictObject({ step: z.enum(['announce', 'use']), key: WireGuardKey })
export type WireguardKeyBody = z.infer<typeof WireguardKeyBody>
/** What peers are told now. */
export const WireguardKeyReply = z.object({ wireguard: WireGuardKey, next: WireGuardKey.nullable() })
export type WireguardKeyReply = z.infer<typeof WireguardKeyReply>

/** POST /v1/node/leave: nothing to say, but that the request is one. */
export const NodeLeaveBody = z.strictObject({})
export const NodeLeaveReply = z.object({ left: NodeId })
export type NodeLeaveReply = z.infer<typeof NodeLeaveReply>

/** The new key agrees to be this node's key, at this gateway. */
export const RotationClaims = z.object({ sub: NodeId, aud: z.string(), iat: z.int() })
export type RotationClaims = z.infer<typeof RotationClaims>
