/** Entries of the audit trail. An entry's index is its place in the log, from zero. */
import * as z from 'zod'

const Detail = z.record(z.string(), z.union([z.string(), z.number()]))

/** What is appended. `detail` holds facts that programs check: versions, hashes, fingerprints; never a value. */
export interface AuditEvent {
  readonly actor: string
  readonly action: string
  readonly target: string
  readonly outcome: 'allowed' | 'denied' | 'failed'
  readonly reason: string
  readonly requestId: string
  readonly detail?: Readonly<Record<string, string | number>>
}

export const AuditItem = z.object({
  seq: z.int().nonnegative(),
  at: z.iso.datetime(),
  actor: z.string(),
  action: z.string(),
  target: z.string(),
  outcome: z.enum(['allowed', 'denied', 'failed']),
  reason: z.string(),
  requestId: z.string(),
  detail: Detail.optional(),
})
export type AuditItem = z.infer<typeof AuditItem>
export const AuditList = z.object({ items: z.array(AuditItem), next: z.string().optional() })
