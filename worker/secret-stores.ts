/** The stores of the secrets, and who acts on them, for one request. */
import type { Env } from '../durable-objects/env.ts'
import { secretStores } from '../durable-objects/secret-stores.ts'
import type { Actor } from '../secrets/change.ts'
import { KnownSecrets } from '../secrets/known.ts'
import type { SecretStores, Trail } from '../secrets/stores.ts'
import { callAuditLog } from './audit.ts'
import { type GatewayContext, orRefuse } from './context.ts'

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

const known = new WeakMap<object, KnownSecrets>()

/** One for the isolate, which in tests serves several gateways. */
export function knownSecrets({ DB }: Env): KnownSecrets {
  const there = known.get(DB) ?? new KnownSecrets()
  known.set(DB, there)
  return there
}
