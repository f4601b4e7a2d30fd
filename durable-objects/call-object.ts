/**
 * Every call of a Durable Object goes through here. A stub that has thrown stays broken, so each try makes its own; only what the platform
 * calls retryable is tried again, and never an overloaded object, which more calls would only hold down.
 */
const TRIES = 3

/** @param work is tried again after a lost connection or a restart of the object: it must be idempotent, or `tries` be 1. */
export async function callObject<T extends Rpc.DurableObjectBranded | undefined, P>(
  namespace: DurableObjectNamespace<T>,
  name: string,
  work: (stub: DurableObjectStub<T>) => P,
  { tries = TRIES } = {},
): Promise<Awaited<P>> {
  for (let tried = 1; ; tried++) {
    try {
      return await work(namespace.getByName(name))
    } catch (error) {
      if (tried >= tries || !isRetryable(error)) throw error
    }
  }
}

function isRetryable(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false
  const { retryable, overloaded } = error as { retryable?: boolean; overloaded?: boolean }
  return retryable === true && overloaded !== true
}

/** The platform's word that an object could not be reached, or was reset under the call, rather than that it failed. */
export const isUnavailable = (error: unknown): boolean =>
  typeof error === 'object' &&
  error !== null &&
  ['retryable', 'overloaded', 'durableObjectReset'].some((property) => property in error)

/** The objects of which there is one. */
export const FLEET_OBJECT = 'fleet:v1'
export const AUDIT_OBJECT = 'audit:v1'
export const REWRAP_OBJECT = 'rewrap:v1'
