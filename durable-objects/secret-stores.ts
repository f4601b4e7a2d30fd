/** The stores of the secrets, as this gateway is bound to them. */
import { DeliverySealer } from '../crypto/delivery.ts'
import { KnownSecrets } from '../secrets/known.ts'
import { findSecrets } from '../secrets/rows.ts'
import type { SecretStores, Trail } from '../secrets/stores.ts'
import { AUDIT_OBJECT, callObject } from './call-object.ts'
import type { Config } from './config.ts'
import type { Env } from './env.ts'

export const secretStores = (
  env: Env,
  { keyring }: Config,
  later: (work: Promise<unknown>) => void,
): SecretStores => ({
  db: env.DB,
  cache: env.CIPHERTEXTS,
  lookUp: (wanted) => findSecrets(env.DB, wanted),
  trail: trailOf(env),
  keyring,
  now: () => Date.now(),
  later,
})

function trailOf({ AUDIT_LOG }: Env): Trail {
  return {
    append: (events) => callObject(AUDIT_LOG, AUDIT_OBJECT, (log) => log.append(events)),
    // Tried once: an entry begun twice would stay open once.
    begin: async (event) =>
      (await callObject(AUDIT_LOG, AUDIT_OBJECT, (log) => log.begin(event), { tries: 1 })).entry,
    settle: (entry, outcome) => callObject(AUDIT_LOG, AUDIT_OBJECT, (log) => log.settle(entry, outcome)),
    openIntents: (before) => callObject(AUDIT_LOG, AUDIT_OBJECT, (log) => log.openIntents(before)),
  }
}

/** One for the isolate: whom it has agreed with on a key. */
export const deliverySealer = new DeliverySealer()

const known = new WeakMap<object, KnownSecrets>()

/** One for the isolate, which in tests serves several gateways. */
export function knownSecrets({ DB }: Env): KnownSecrets {
  const there = known.get(DB) ?? new KnownSecrets()
  known.set(DB, there)
  return there
}
