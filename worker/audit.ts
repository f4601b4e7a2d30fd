/** The gateway's side of the audit trail. Appending comes first and is awaited: if it fails, the action does not happen. */
import type { AuditLog } from '../durable-objects/audit-log.ts'
import { AUDIT_OBJECT, callObject } from '../durable-objects/call-object.ts'
import type { AuditEvent } from '../protocol/audit.ts'
import type { GatewayContext } from './context.ts'

type Entry = Omit<AuditEvent, 'requestId' | 'outcome' | 'reason'> &
  Partial<Pick<AuditEvent, 'outcome' | 'reason'>>

/** @returns the index of the first entry, and the stamp of each one's target (durable-objects/change-stamps.ts). */
export function audit(
  c: GatewayContext,
  ...entries: readonly Entry[]
): Promise<{ first: number; stamps: (string | null)[] }> {
  const events = entries.map((entry) => auditEvent(c, entry))
  return callAuditLog(c, (log) => log.append(events))
}

export const auditEvent = (c: GatewayContext, entry: Entry): AuditEvent => ({
  outcome: 'allowed',
  reason: '',
  ...entry,
  requestId: c.var.requestId,
})

export const callAuditLog = <P>(
  c: GatewayContext,
  work: (log: DurableObjectStub<AuditLog>) => P,
): Promise<Awaited<P>> => callObject(c.env.AUDIT_LOG, AUDIT_OBJECT, work)
