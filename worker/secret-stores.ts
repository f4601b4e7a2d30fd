/** The stores of the secrets, and who acts on them, for one request. */
import type { Env } from '../durable-objects/env.ts'
import { secretStores } from '../durable-objects/secret-stores.ts'
import type { Actor } from '../secrets/change.ts'
import { KnownSecrets } from '../secrets/known.ts'
import type { SecretStores } from '../secrets/stores.ts'
import type { GatewayContext } from './context.ts'

export const requestStores = (c: GatewayContext): SecretStores =>
  secretStores(c.env, c.var.config, (work) => c.executionCtx.waitUntil(work))

export const actorOf = (c: GatewayContext): Actor => ({ actor: c.var.actor, requestId: c.var.requestId })

const known = new WeakMap<object, KnownSecrets>()

/** One for the isolate, which in tests serves several gateways. */
export function knownSecrets({ DB }: Env): KnownSecrets {
  const there = known.get(DB) ?? new KnownSecrets()
  known.set(DB, there)
  return there
}
