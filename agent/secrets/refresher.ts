/**
 * Keeps somebody's secrets current: fetches them again when they may have changed, and hands them on if one really has. What comes in a
 * burst is one look. Values that are in use stay in use while there are no others to be had.
 */
import { UserError } from '../../host/user-error.ts'
import { type Clock, sleep } from '../clock.ts'
import type { Log } from '../log.ts'
import { failureOf } from './fetch-failure.ts'
import { Fingerprints } from './fingerprints.ts'
import { type Secrets, wipeSecrets } from './kept-secrets.ts'
import type { SecretReference } from './reference.ts'
import type { SecretSource } from './secret-source.ts'

/** Several secrets are often changed together; what comes later than this is another look. */
export const GATHER_MS = 50
const RETRY_BASE_MS = 1_000
const RETRY_CAP_MS = 60_000

interface Options {
  readonly source: Pick<SecretSource, 'fetch'>
  readonly references: readonly SecretReference[]
  readonly clock: Clock
  readonly log: Log
  /** Given values that it does not keep. @throws UserError if they will not do: then the old ones stay. */
  readonly apply: (secrets: Secrets) => void
}

export class Refresher {
  readonly #options: Options
  readonly #fingerprints = new Fingerprints()
  readonly #stopped = new AbortController()
  #isDue = false
  #isStarted = false
  #isRunning = false
  /** The last failure that was told. */
  #said: string | undefined

  constructor(options: Options) {
    this.#options = options
  }

  /** Something may have changed, perhaps before these were fetched. */
  notice(): void {
    this.#isDue = true
    if (this.#isStarted && !this.#isRunning) void this.#run()
  }

  /** @param current what is in use from now on. */
  start(current: Secrets): void {
    this.#fingerprints.remember(current)
    this.#isStarted = true
    if (this.#isDue) void this.#run()
  }

  stop(): void {
    this.#stopped.abort()
  }

  async #run(): Promise<void> {
    const { clock } = this.#options
    const { signal } = this.#stopped
    this.#isRunning = true
    let failures = 0
    while (this.#isDue && !signal.aborted) {
      await sleep(clock, GATHER_MS, signal)
      if (signal.aborted) break
      this.#isDue = false
      if (await this.#refresh()) {
        failures = 0
        continue
      }
      this.#isDue = true
      const ceiling = Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** failures++)
      await sleep(clock, clock.random() * ceiling, signal)
    }
    this.#isRunning = false
  }

  /** @returns false if it is worth trying again soon. */
  async #refresh(): Promise<boolean> {
    const { source, references } = this.#options
    let secrets: Secrets | undefined
    try {
      secrets = await source.fetch(references)
      if (!this.#stopped.signal.aborted) this.#use(secrets)
      this.#said = undefined
      return true
    } catch (error) {
      if (!(error instanceof UserError)) throw error
      this.#say(error)
      return !['gateway away', 'not yet'].includes(failureOf(error))
    } finally {
      if (secrets !== undefined) wipeSecrets(secrets)
    }
  }

  #use(secrets: Secrets): void {
    const { log, apply } = this.#options
    const changed = this.#fingerprints.changed(secrets)
    if (changed.length === 0) return
    const versions = changed.map((reference) => `${reference} (version ${secrets.get(reference)?.version})`)
    log.info('secrets have changed', { secrets: versions.join(', ') })
    apply(secrets)
    this.#fingerprints.remember(secrets)
  }

  #say({ code, message, why, fix }: UserError): void {
    if (this.#said === code) return
    this.#said = code
    this.#options.log.warn('the secrets cannot be fetched anew; those in use stay in use', {
      code,
      problem: message,
      why,
      fix,
    })
  }
}
