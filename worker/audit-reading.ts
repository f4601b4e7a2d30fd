/** Who reads the audit trail is in it, too: once in a while for each reader, because each record is something new to read. */
import { AUDIT_READ_WINDOW_MS, MAX_RATE_KEYS } from '../protocol/limits.ts'
import { audit } from './audit.ts'
import type { GatewayContext } from './context.ts'

/** When each reader was last recorded; one for the isolate, which in tests serves several gateways. */
const recorded = new WeakMap<object, Map<string, number>>()

/** Comes before the reading, as every append. */
export async function auditReading(c: GatewayContext): Promise<void> {
  const readers = recorded.get(c.env.DB) ?? new Map<string, number>()
  recorded.set(c.env.DB, readers)
  const { actor } = c.var
  const now = Date.now()
  if (now - (readers.get(actor) ?? Number.NEGATIVE_INFINITY) < AUDIT_READ_WINDOW_MS) return
  await audit(c, { actor, action: 'audit.read', target: 'audit' })
  if (readers.size >= MAX_RATE_KEYS) readers.clear()
  readers.set(actor, now)
}
