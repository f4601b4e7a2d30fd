/** What the gateway itself has found about a node, in the audit trail. */
import type { NodeId } from '../protocol/ids.ts'
import { AUDIT_OBJECT, callObject } from './call-object.ts'
import type { Env } from './env.ts'

export async function recordFinding(env: Env, node: NodeId, action: string, reason: string): Promise<void> {
  const entry = {
    actor: 'gateway',
    action,
    target: `node:${node}`,
    outcome: 'denied' as const,
    reason,
    requestId: '',
  }
  await callObject(env.AUDIT_LOG, AUDIT_OBJECT, (log) => log.append([entry]))
}
