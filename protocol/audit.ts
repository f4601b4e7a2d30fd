/** The audit trail as it crosses the wire: entries, and the proofs that they are in the log (docs/audit-log.md). */
import * as z from 'zod'
import { GatewayProof } from './frames.ts'
import type { FleetId } from './ids.ts'

export const AuditOutcome = z.enum(['allowed', 'denied', 'failed'])
export type AuditOutcome = z.infer<typeof AuditOutcome>
const DETAIL_NAME = /^[A-Za-z][A-Za-z0-9_]{0,63}$/
/** Facts that programs check: versions, hashes, fingerprints; never a value. */
export const AuditDetail = z.record(z.string().regex(DETAIL_NAME), z.union([z.string(), z.number()]))
export type AuditDetail = Readonly<z.infer<typeof AuditDetail>>

/** As the schema has it, at a tenth of the time: every append goes through here. */
export const isAuditDetail = (detail: AuditDetail): boolean =>
  Object.entries(detail).every(
    ([name, value]) => DETAIL_NAME.test(name) && (typeof value === 'string' || Number.isFinite(value)),
  )

/** What is appended. */
export interface AuditEvent {
  readonly actor: string
  readonly action: string
  readonly target: string
  readonly outcome: AuditOutcome
  readonly reason: string
  readonly requestId: string
  readonly detail?: AuditDetail
}

export const AuditItem = z.object({
  /** Index in the log, from zero. */
  seq: z.int().nonnegative(),
  at: z.iso.datetime(),
  actor: z.string(),
  action: z.string(),
  target: z.string(),
  outcome: AuditOutcome,
  reason: z.string(),
  requestId: z.string(),
  detail: AuditDetail.optional(),
})
export type AuditItem = z.infer<typeof AuditItem>

/** GET /v1/audit. `next` continues; `position` is where to ask on for entries that are yet to come, if the oldest were asked for first. */
export const AuditList = z.object({
  items: z.array(AuditItem),
  next: z.string().optional(),
  position: z.int().nonnegative().optional(),
})
export type AuditList = z.infer<typeof AuditList>

/** Which entries a listing has; all of these hold. Times are Unix milliseconds, both included. */
export interface AuditFilter {
  readonly actor?: string | undefined
  readonly action?: string | undefined
  /** Beginning of the target. */
  readonly target?: string | undefined
  readonly outcome?: AuditOutcome | undefined
  readonly since?: number | undefined
  readonly until?: number | undefined
}

const Moment = z.iso.datetime({ offset: true }).transform((text) => Date.parse(text))
/** Query of GET /v1/audit. A name that is not one of these is refused: a misspelled filter would otherwise let everything through. */
export const AuditQuery = z.strictObject({
  actor: z.string().max(256).optional(),
  action: z.string().max(256).optional(),
  target: z.string().max(512).optional(),
  outcome: AuditOutcome.optional(),
  since: Moment.optional(),
  until: Moment.optional(),
  /** Oldest first, from this index; newest first without it. */
  from: z
    .string()
    .regex(/^[0-9]{1,15}$/)
    .transform(Number)
    .optional(),
  limit: z.string().optional(),
  cursor: z.string().optional(),
})

/** GET /v1/audit/:index. `text` is what the log has hashed, to the byte. */
export const AuditEntryReply = AuditItem.extend({ text: z.string() })
export type AuditEntryReply = z.infer<typeof AuditEntryReply>

/** GET /v1/audit/inclusion and /v1/audit/consistency: hashes in base64, as RFC 6962 orders them. */
export const AuditProofReply = z.object({ proof: z.array(z.string()).max(128) })
export type AuditProofReply = z.infer<typeof AuditProofReply>

/** GET /v1/node/audit/continuation: all that a witness asks for. No proof if the log is not as long as the asker's. */
export const AuditContinuationReply = z.object({
  checkpoint: z.string(),
  proof: z.array(z.string()).max(128).nullable(),
})
export type AuditContinuationReply = z.infer<typeof AuditContinuationReply>

/** GET /v1/audit/key: the key that signs checkpoints, and its announced successor, over the origin (crypto/gateway-proof.ts). */
export const AuditKeyReply = z.object({ origin: z.string(), gateway: GatewayProof })
export type AuditKeyReply = z.infer<typeof AuditKeyReply>

/** POST /v1/audit/archive: a checkpoint that its sender has a verified copy of the log for. */
export const AuditArchiveBody = z.strictObject({ size: z.int().nonnegative(), root: z.string() })
export type AuditArchiveBody = z.infer<typeof AuditArchiveBody>
/** Entries below this index have left the gateway. */
export const AuditArchiveReply = z.object({ below: z.int().nonnegative() })
export type AuditArchiveReply = z.infer<typeof AuditArchiveReply>

/** Names one fleet's log for ever, wherever its gateway moves. */
export const auditOrigin = (fleet: FleetId): string => `clawbernetes.${fleet}/audit`
