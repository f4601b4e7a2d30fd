/**
 * Every call of a Durable Object goes through here. A stub that has thrown stays broken, so the next try makes its own; only what the platform
 * calls retryable is tried again, and never an overloaded object, which more calls would only hold down.
 */
const TRIES = 3

/** @param work is tried again after a lost connection or a restart of the object: it must be idempotent, or `tries` be 1. */
export const callObject = <T extends Rpc.DurableObjectBranded | undefined, P>(
  namespace: DurableObjectNamespace<T>,
  name: string,
  work: (stub: DurableObjectStub<T>) => P,
  options?: { readonly tries?: number },
): Promise<Awaited<P>> => new ObjectCaller(namespace, name).call(work, options)

/**
 * For an object that calls another all the time: the stub stays while it works, because each that is made lives until the next full garbage
 * collection, which thousands of them bring about. Not for the Worker, where a stub belongs to its request.
 */
export class ObjectCaller<T extends Rpc.DurableObjectBranded | undefined> {
  readonly #namespace: DurableObjectNamespace<T>
  readonly #name: string
  #stub: DurableObjectStub<T> | undefined

  constructor(namespace: DurableObjectNamespace<T>, name: string) {
    this.#namespace = namespace
    this.#name = name
  }

  async call<P>(work: (stub: DurableObjectStub<T>) => P, { tries = TRIES } = {}): Promise<Awaited<P>> {
    for (let tried = 1; ; tried++) {
      const stub = this.#stub ?? this.#namespace.getByName(this.#name)
      this.#stub = stub
      try {
        return await work(stub)
      } catch (error) {
        if (this.#stub === stub) this.#stub = undefined
        if (tried >= tries || !isRetryable(error)) throw error
      }
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
