/** The gateway's side of the audit trail. Appending comes first and is awaited: if it fails, the action does not happen. */
import { AUDIT_OBJECT, callObject } from '../durable-objects/call-object.ts'
import type { AuditEvent } from '../protocol/audit.ts'
import type { GatewayContext } from './context.ts'

type Entry = Omit<AuditEvent, 'requestId' | 'outcome' | 'reason'> &
  Partial<Pick<AuditEvent, 'outcome' | 'reason'>>

export async function audit(c: GatewayContext, ...entries: readonly Entry[]): Promise<{ first: number }> {
  const events = entries.map((entry) => ({
    outcome: 'allowed' as const,
    reason: '',
    ...entry,
    requestId: c.var.requestId,
  }))
  return callObject(c.env.AUDIT_LOG, AUDIT_OBJECT, (log) => log.append(events))
}
