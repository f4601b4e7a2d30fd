/**
 * Where a command's secrets come from: the gateway; while it is away what is kept of them on this node; and if there is neither, from
 * whichever comes first. A fetch opens the node anew, so that a job that runs for months finds keys that were rotated meanwhile.
 */
import { UserError } from '../../host/user-error.ts'
import { MAX_SECRETS_PER_FETCH } from '../../protocol/limits.ts'
import type { WorkloadName } from '../../protocol/secret-policy.ts'
import { carryByAgent } from '../carried-request.ts'
import { type Clock, sleep } from '../clock.ts'
import type { NodeConfig } from '../config/node-config.ts'
import { finishRotation } from '../identity-rotation.ts'
import { type JoinedNode, openJoinedNode } from '../joined-node.ts'
import type { Log } from '../log.ts'
import type { CarriedRequest } from '../session/session-requests.ts'
import { failureOf } from './fetch-failure.ts'
import { type Kept, KeptSecrets, type Secrets, wipeSecrets } from './kept-secrets.ts'
import type { ReceivedSecret } from './received.ts'
import { referenceText, type SecretReference } from './reference.ts'
import type { CachedSecret } from './secret-cache.ts'

interface Obtained {
  readonly secrets: Secrets
  /** They are what this node has kept, because the gateway is away. */
  readonly isKept: boolean
}

/** With everything at hand already, a gateway that keeps silent is not waited for as long as one that is needed. */
const TIMEOUT_WITH_KEPT_MS = 10_000
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
  readonly #kept: KeptSecrets

  constructor(options: Options) {
    this.#options = options
    this.#kept = new KeptSecrets(options)
  }

  /** From the gateway, all of them. @throws UserError */
  async fetch(asked: readonly SecretReference[]): Promise<Secrets> {
    if (asked.length === 0) return new Map()
    const node = await this.#open()
    try {
      await finishRotation(node)
      const timeoutMs = this.#kept.hasAll(node, asked) ? TIMEOUT_WITH_KEPT_MS : undefined
      const secrets = await this.#fetchBatches(node, asked, timeoutMs)
      this.#kept.keep(node, asked, secrets)
      return secrets
    } catch (error) {
      if (error instanceof UserError) this.#kept.forget(error, asked)
      throw error
    } finally {
      node.connection.close()
    }
  }

  /** From wherever they are to be had, at the latest after this time; a denial is final at once. @throws UserError */
  async obtain(asked: readonly SecretReference[], waitMs: number): Promise<Obtained> {
    const { clock, log } = this.#options
    const begun = clock.elapsed()
    let said: string | undefined
    for (let failures = 0; ; failures++) {
      const fetched = await attempt(() => this.fetch(asked))
      if (!(fetched instanceof UserError)) return { secrets: fetched, isKept: false }
      const kept = failureOf(fetched) === 'gateway away' ? await this.#findKept(asked) : undefined
      if (kept?.secrets !== undefined) {
        this.#tellKept(kept.secrets, fetched)
        return { secrets: kept.secrets, isKept: true }
      }
      const left = begun + waitMs - clock.elapsed()
      if (!isTransient(fetched) || left <= 0) throw withMisses(fetched, kept?.misses ?? [])
      const { code, message: problem, why } = fetched
      if (said !== code) log.warn('waiting for the secrets', { code, problem, why })
      said = code
      const ceiling = Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** failures)
      await sleep(clock, Math.min(left, clock.random() * ceiling), NEVER)
    }
  }

  #open(): Promise<JoinedNode> {
    const { config, clock } = this.#options
    return openJoinedNode(config.directory, clock, config)
  }

  async #findKept(asked: readonly SecretReference[]): Promise<Kept> {
    const node = await this.#open()
    node.connection.close()
    return this.#kept.find(node, asked)
  }

  #tellKept(secrets: ReadonlyMap<string, CachedSecret>, { code }: UserError): void {
    const oldest = Math.min(...Array.from(secrets.values(), ({ at }) => at))
    this.#options.log.warn('the gateway is away: using the secrets that are kept on this node', {
      code,
      secrets: Array.from(secrets, ([reference, { version }]) => `${reference} (version ${version})`).join(
        ', ',
      ),
      fetched: new Date(oldest).toISOString(),
    })
  }

  async #fetchBatches(
    node: JoinedNode,
    asked: readonly SecretReference[],
    timeoutMs: number | undefined,
  ): Promise<Map<string, ReceivedSecret>> {
    const secrets = new Map<string, ReceivedSecret>()
    try {
      for (const batch of batches(asked)) await this.#fetchBatch(node, batch, timeoutMs, secrets)
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
    secrets: Map<string, ReceivedSecret>,
  ): Promise<void> {
    const { workload } = this.#options
    const carry = (request: CarriedRequest) => carryByAgent(node.directory, request)
    try {
      const received = await node.client.fetchSecrets(batch, { workload, timeoutMs, carry })
      for (const reference of batch) {
        const one = received.get(reference.name)
        if (one !== undefined) secrets.set(referenceText(reference), one)
      }
    } catch (error) {
      if (!(error instanceof UserError && error.code === 'E_SECRETS_TOO_LARGE') || batch.length < 2)
        throw error
      const half = Math.ceil(batch.length / 2)
      await this.#fetchBatch(node, batch.slice(0, half), timeoutMs, secrets)
      await this.#fetchBatch(node, batch.slice(half), timeoutMs, secrets)
    }
  }
}

/** Nothing ends a wait but its time: a signal ends the process. */
const NEVER = new AbortController().signal

async function attempt<T>(work: () => Promise<T>): Promise<T | UserError> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof UserError) return error
    throw error
  }
}

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

function withMisses(error: UserError, misses: readonly string[]): UserError {
  if (misses.length === 0) return error
  const { code, message, why, fix, exitCode, requestId } = error
  const reasons = [...(why === undefined ? [] : [why]), ...misses]
  return new UserError({ code, message, why: reasons.join('; '), fix, exitCode, requestId })
}
