/**
 * Where a command's secrets come from: the gateway; while it is away what is kept of them on this node; and if there is neither, from
 * whichever comes first. A fetch opens the node anew, so that a job that runs for months finds keys that were rotated meanwhile.
 */
import { EXIT, UserError } from '../../host/user-error.ts'
import { MAX_SECRETS_PER_FETCH } from '../../protocol/limits.ts'
import type { WorkloadName } from '../../protocol/secret-policy.ts'
import { type Clock, sleep } from '../clock.ts'
import type { NodeConfig } from '../config/node-config.ts'
import { finishRotation } from '../identity-rotation.ts'
import { type JoinedNode, openJoinedNode } from '../joined-node.ts'
import type { Log } from '../log.ts'
import { failureOf, toForget } from './fetch-failure.ts'
import type { ReceivedSecret } from './received.ts'
import { referenceText, type SecretReference } from './reference.ts'
import { type CachedSecret, type CacheMiss, forgetCached, SecretCache } from './secret-cache.ts'

/** By the text of the reference. Whoever is given them wipes them. */
export type Secrets = ReadonlyMap<string, ReceivedSecret>

/** With everything at hand already, a gateway that keeps silent is not waited for as long as one that is needed. */
const TIMEOUT_WITH_CACHE_MS = 10_000
/** Full jitter from here … */
const RETRY_BASE_MS = 1_000
/** … to here: a job that waits is not to wait much longer than it has to. */
const RETRY_CAP_MS = 15_000

interface Options {
  readonly config: NodeConfig
  readonly clock: Clock
  readonly log: Log
  readonly workload: WorkloadName | undefined
}

export class SecretSource {
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
    const { directory, secretsCache } = options.config
    if (!secretsCache.isKept) forgetCached(directory, options.log)
  }

  /** From the gateway, all of them. @throws UserError */
  async fetch(asked: readonly SecretReference[]): Promise<Secrets> {
    if (asked.length === 0) return new Map()
    const { config, clock } = this.#options
    const node = await openJoinedNode(config.directory, clock, config)
    const cache = this.#cacheOf(node)
    try {
      await finishRotation(node)
      const timeoutMs = cache?.hasAll(asked, this.#options.workload) ? TIMEOUT_WITH_CACHE_MS : undefined
      const secrets = await this.#fetchBatches(node, asked, timeoutMs)
      this.#keep(cache, asked, secrets)
      return secrets
    } catch (error) {
      if (error instanceof UserError) this.#forget(error, asked)
      throw error
    } finally {
      node.connection.close()
    }
  }

  /**
   * From wherever they are to be had, at the latest after this time; a denial is final at once. @throws UserError
   */
  async obtain(asked: readonly SecretReference[], waitMs: number): Promise<Secrets> {
    const { clock, log } = this.#options
    const begun = clock.elapsed()
    let said: string | undefined
    for (let failures = 0; ; failures++) {
      let error: UserError
      try {
        return await this.fetch(asked)
      } catch (thrown) {
        if (!(thrown instanceof UserError)) throw thrown
        error = thrown
      }
      const kept = failureOf(error) === 'gateway away' ? await this.#findKept(asked) : undefined
      if (kept?.secrets !== undefined) return this.#instead(kept.secrets, error)
      const left = begun + waitMs - clock.elapsed()
      if (!isTransient(error) || left <= 0) throw kept === undefined ? error : withMiss(error, kept.misses)
      if (said !== error.code) log.warn(WAITING, { code: error.code, problem: error.message, why: error.why })
      said = error.code
      const ceiling = Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** failures)
      await sleep(clock, Math.min(left, clock.random() * ceiling), NEVER)
    }
  }

  async #fetchBatches(
    node: JoinedNode,
    asked: readonly SecretReference[],
    timeoutMs: number | undefined,
  ): Promise<Map<string, ReceivedSecret>> {
    const secrets = new Map<string, ReceivedSecret>()
    try {
      for (const batch of batches(asked)) {
        for (const [reference, received] of await this.#fetchBatch(node, batch, timeoutMs))
          secrets.set(referenceText(reference), received)
      }
      return secrets
    } catch (error) {
      wipeSecrets(secrets)
      throw error
    }
  }

  /** Together they may be more than one answer holds; then by halves. */
  async #fetchBatch(
    node: JoinedNode,
    batch: readonly SecretReference[],
    timeoutMs: number | undefined,
  ): Promise<[SecretReference, ReceivedSecret][]> {
    const { workload } = this.#options
    try {
      const received = await node.client.fetchSecrets(batch, { workload, timeoutMs })
      return batch.flatMap((reference) => {
        const one = received.get(reference.name)
        return one === undefined ? [] : [[reference, one]]
      })
    } catch (error) {
      if (!(error instanceof UserError && error.code === 'E_SECRETS_TOO_LARGE') || batch.length < 2)
        throw error
      const half = Math.ceil(batch.length / 2)
      const first = await this.#fetchBatch(node, batch.slice(0, half), timeoutMs)
      return [...first, ...(await this.#fetchBatch(node, batch.slice(half), timeoutMs))]
    }
  }

  #cacheOf({ state, keys, gatewayClock }: JoinedNode): SecretCache | undefined {
    const { directory, secretsCache } = this.#options.config
    if (!secretsCache.isUsed) return undefined
    return new SecretCache({
      directory,
      fleet: state.node.fleet,
      node: state.node.id,
      maxAgeMs: secretsCache.maxAgeMs,
      sealing: keys.sealing.read,
      now: () => gatewayClock.now(),
    })
  }

  /** A disk that is full or read only is no reason not to start a job whose secrets are there. */
  #keep(cache: SecretCache | undefined, asked: readonly SecretReference[], secrets: Secrets): void {
    const entries = asked.flatMap((reference) => {
      const received = secrets.get(referenceText(reference))
      return received === undefined ? [] : [{ reference, received }]
    })
    try {
      cache?.keep(entries, this.#options.workload)
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error)
      this.#options.log.warn('the secrets cannot be kept on this node for when the gateway is away', {
        problem,
      })
    }
  }

  #forget(error: UserError, asked: readonly SecretReference[]): void {
    const { config, log } = this.#options
    const what = toForget(error, asked)
    if (what !== 'nothing') forgetCached(config.directory, log, what === 'everything' ? undefined : what)
  }

  async #findKept(
    asked: readonly SecretReference[],
  ): Promise<
    | { readonly secrets: ReadonlyMap<string, CachedSecret> }
    | { readonly secrets: undefined; readonly misses: readonly string[] }
  > {
    const { config, clock, workload } = this.#options
    const node = await openJoinedNode(config.directory, clock, config)
    node.connection.close()
    const cache = this.#cacheOf(node)
    if (cache === undefined) return { secrets: undefined, misses: [] }
    const secrets = new Map<string, CachedSecret>()
    const misses: string[] = []
    for (const reference of asked) {
      const found = cache.find(reference, workload)
      if (found.ok) secrets.set(referenceText(reference), found.value)
      else misses.push(`${referenceText(reference)}: ${MISSES[found.error]}`)
    }
    if (misses.length === 0) return { secrets }
    wipeSecrets(secrets)
    return { secrets: undefined, misses }
  }

  #instead(secrets: ReadonlyMap<string, CachedSecret>, { code }: UserError): Secrets {
    const { log } = this.#options
    const oldest = Math.min(...Array.from(secrets.values(), ({ at }) => at))
    log.warn(USING_KEPT, {
      code,
      secrets: Array.from(secrets, ([reference, { version }]) => `${reference} (version ${version})`).join(
        ', ',
      ),
      fetched: new Date(oldest).toISOString(),
    })
    return secrets
  }
}

export const USING_KEPT = 'the gateway is away: using the secrets that are kept on this node'
const WAITING = 'waiting for the secrets'

export function wipeSecrets(secrets: Secrets): void {
  for (const { value } of secrets.values()) value.wipe()
}

/** Nothing ends a wait but its time: a signal ends the process. */
const NEVER = new AbortController().signal

const isTransient = (error: UserError): boolean =>
  ['gateway away', 'not yet', 'absent'].includes(failureOf(error))

/** A request names each secret once; a job may want two versions of one. */
function batches(asked: readonly SecretReference[]): SecretReference[][] {
  const made: SecretReference[][] = []
  for (const reference of asked) {
    const batch = made.find(
      (one) => one.length < MAX_SECRETS_PER_FETCH && !one.some(({ name }) => name === reference.name),
    )
    if (batch === undefined) made.push([reference])
    else batch.push(reference)
  }
  return made
}

const MISSES: Readonly<Record<CacheMiss, string>> = {
  absent: 'not kept on this node',
  expired: 'kept for too long',
  corrupt: 'what is kept does not open with the key of this node',
  'clock set back': 'what is kept is from a later time than the clock says',
}

const withMiss = (error: UserError, misses: readonly string[]): UserError =>
  new UserError({
    code: error.code,
    message: error.message,
    why: [error.why, ...misses].filter((reason) => reason !== undefined).join('; '),
    fix: error.fix,
    exitCode: error.exitCode ?? EXIT.unavailable,
    requestId: error.requestId,
  })
