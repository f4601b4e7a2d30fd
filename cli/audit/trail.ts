/** The audit trail of the gateway that a command talks to: as it is served, as it is believed, and as it is remembered. */
import { AuditLogClient } from '../../host/audit-log-client.ts'
import type { AdminClient } from '../admin-client.ts'
import { GatewayLog } from './gateway-log.ts'
import { KnownLogsFile } from './known-logs.ts'

export interface AuditTrail {
  readonly files: GatewayLog
  readonly log: AuditLogClient
  readonly memory: KnownLogsFile
}

export function auditTrail(client: AdminClient): AuditTrail {
  const files = new GatewayLog(client)
  const memory = new KnownLogsFile(client.gateway)
  return { files, memory, log: new AuditLogClient(files, memory) }
}
