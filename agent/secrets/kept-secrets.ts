/** What a node keeps of its jobs' secrets: renewed by each fetch, used while the gateway is away, ended by its refusal. */
import type { UserError } from '../../host/user-error.ts'
import type { WorkloadName } from '../../protocol/secret-policy.ts'
import type { NodeConfig } from '../config/node-config.ts'
import type { JoinedNode } from '../joined-node.ts'
import type { Log } from '../log.ts'
import { toForget } from './fetch-failure.ts'
import type { ReceivedSecret } from './received.ts'
import { referenceText, type SecretReference } from './reference.ts'
import { type CachedSecret, type CacheMiss, forgetCached, SecretCache } from './secret-cache.ts'

/** By the text of the reference. Whoever is given them wipes them. */
export type Secrets = ReadonlyMap<string, ReceivedSecret>

export function wipeSecrets(secrets: Secrets): void {
  for (const { value } of secrets.values()) value.wipe()
}

interface Options {
  readonly config: NodeConfig
  readonly log: Log
  readonly workload: WorkloadName | undefined
}

export type Kept =
  | { readonly secrets: ReadonlyMap<string, CachedSecret> }
  /** In words, why it is not there: nothing, if this is refused altogether. */
  | { readonly secrets: undefined; readonly misses: readonly string[] }

export class KeptSecrets {
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
    const { config, log } = options
    if (!config.secretsCache.isKept) forgetCached(config.directory, log)
  }

  /** A disk that is full or read only is no reason not to start a job whose secrets are there. */
  keep(node: JoinedNode, asked: readonly SecretReference[], secrets: Secrets): void {
    const { workload, log } = this.#options
    const entries = asked.flatMap((reference) => {
      const received = secrets.get(referenceText(reference))
      return received === undefined ? [] : [{ reference, received }]
    })
    try {
      this.#cacheOf(node)?.keep(entries, workload)
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error)
      log.warn('the secrets cannot be kept on this node for when the gateway is away', { problem })
    }
  }

  /** Whether there is something of each, good or not. */
  hasAll(node: JoinedNode, asked: readonly SecretReference[]): boolean {
    return this.#cacheOf(node)?.hasAll(asked, this.#options.workload) ?? false
  }

  /** All of them, or none. */
  find(node: JoinedNode, asked: readonly SecretReference[]): Kept {
    const cache = this.#cacheOf(node)
    if (cache === undefined) return { secrets: undefined, misses: [] }
    const secrets = new Map<string, CachedSecret>()
    const misses: string[] = []
    for (const reference of asked) {
      const found = cache.find(reference, this.#options.workload)
      if (found.ok) secrets.set(referenceText(reference), found.value)
      else misses.push(`${referenceText(reference)}: ${MISSES[found.error]}`)
    }
    if (misses.length === 0) return { secrets }
    wipeSecrets(secrets)
    return { secrets: undefined, misses }
  }

  /** What the gateway has just refused, if it has. */
  forget(error: UserError, asked: readonly SecretReference[]): void {
    const { config, log } = this.#options
    const what = toForget(error, asked)
    if (what !== 'nothing') forgetCached(config.directory, log, what === 'everything' ? undefined : what)
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
}

const MISSES: Readonly<Record<CacheMiss, string>> = {
  absent: 'not kept on this node',
  expired: 'kept for too long',
  corrupt: 'what is kept does not open with the key of this node',
  'clock set back': 'what is kept is from a later time than the clock says',
}
