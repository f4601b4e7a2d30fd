/** Presence is a lease that heartbeats renew, worked out when it is read, so that a late alarm never shows a dead node alive. Pure. */
import type { NodeStatus } from '../protocol/http.ts'
import { OFFLINE_AFTER_MS, SUSPECT_AFTER_MS } from '../protocol/limits.ts'

export function leaseStatus(seenAt: number, now: number): NodeStatus {
  const age = now - seenAt
  if (age >= OFFLINE_AFTER_MS) return 'offline'
  return age >= SUSPECT_AFTER_MS ? 'suspect' : 'online'
}
