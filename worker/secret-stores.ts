/** The stores of the secrets, and who acts on them, for one request. */
import { secretStores } from '../durable-objects/secret-stores.ts'
import { orRefuse } from '../protocol/refused-error.ts'
import type { Actor } from '../secrets/change.ts'
import type { SecretStores, Trail } from '../secrets/stores.ts'
import { callAuditLog } from './audit.ts'
import type { GatewayContext } from './context.ts'

export const requestStores = (c: GatewayContext): SecretStores =>
  secretStores(c.env, c.get('config'), (work) => c.executionCtx.waitUntil(work))

/** Of a node's request: its proof is used up by the first entry, and by a request that was answered before it is refused. */
export function provenStores(c: GatewayContext): SecretStores {
  const stores = requestStores(c)
  const { proof, requestId } = c.var
  const append: Trail['append'] = async (events) =>
    orRefuse(await callAuditLog(c, (log) => log.appendProven(events, proof, requestId)))
  return { ...stores, trail: { ...stores.trail, append } }
}

export const actorOf = (c: GatewayContext): Actor => ({ actor: c.var.actor, requestId: c.var.requestId })
