/**
 * A command with its secrets, from the first fetch to its end: it is started when all of them are there, and told, or started anew, when
 * they have changed. Whatever was put into memory for it goes when it ends.
 */
import type { WorkloadName } from '../../protocol/secret-policy.ts'
import type { Command, Ending } from '../child-process.ts'
import type { Clock } from '../clock.ts'
import type { NodeConfig } from '../config/node-config.ts'
import type { Log } from '../log.ts'
import { SupervisedCommand } from '../supervised-command.ts'
import { type Assignment, referencesOf } from './assignments.ts'
import { ChangeWatch } from './change-watch.ts'
import { CommandSecrets } from './command-secrets.ts'
import { type Secrets, wipeSecrets } from './kept-secrets.ts'
import { MaskedOutput } from './masked-output.ts'
import { Refresher } from './refresher.ts'
import { SecretSource } from './secret-source.ts'

export type OnChange =
  | { readonly kind: 'restart' }
  | { readonly kind: 'signal'; readonly signal: NodeJS.Signals }
  | { readonly kind: 'ignore' }

export interface JobOptions {
  readonly command: Command
  readonly config: NodeConfig
  readonly assignments: readonly Assignment[]
  readonly maxReads: number
  /** Undefined: restart where an agent runs and nobody sits at a terminal, else ignore. */
  readonly onChange: OnChange | undefined
  readonly graceMs: number
  readonly waitMs: number
  readonly workload: WorkloadName | undefined
  readonly mask: boolean
  readonly clock: Clock
  readonly log: Log
  readonly env: NodeJS.ProcessEnv
  /** Whether standard input is one. */
  readonly terminal: boolean
}

/** @throws UserError if the command cannot have its secrets, and then it was not started. */
export async function runJob(options: JobOptions): Promise<Ending> {
  const job = new Job(options)
  try {
    return await job.run()
  } finally {
    job.close()
  }
}

class Job {
  readonly #options: JobOptions
  readonly #source: SecretSource
  readonly #given: CommandSecrets
  readonly #output: MaskedOutput | undefined
  readonly #refresher: Refresher
  readonly #watch: ChangeWatch
  readonly #command: SupervisedCommand

  constructor(options: JobOptions) {
    this.#options = options
    const { config, assignments, clock, mask } = options
    this.#source = new SecretSource(options)
    this.#given = new CommandSecrets(options)
    this.#output = mask ? new MaskedOutput(clock) : undefined
    this.#command = new SupervisedCommand({ ...options, output: this.#output })
    const references = referencesOf(assignments)
    this.#refresher = new Refresher({
      ...options,
      source: this.#source,
      references,
      apply: (secrets) => this.#change(secrets),
    })
    this.#watch = new ChangeWatch({
      directory: config.directory,
      names: [...new Set(references.map(({ name }) => name))],
      clock,
      onChange: () => this.#refresher.notice(),
    })
  }

  async run(): Promise<Ending> {
    const { assignments, waitMs } = this.#options
    // Before the first fetch, so that no change is missed after it.
    const isWatched = await this.#isToBeWatched()
    const { secrets, isKept } = await this.#source.obtain(referencesOf(assignments), waitMs)
    // The gateway may have others, and says so as soon as it is back.
    if (isKept) this.#refresher.notice()
    // Whatever ends this program in another way than by its command's end.
    process.once('exit', () => this.#given.remove())
    return this.#command.run(() => {
      try {
        const env = this.#provide(secrets)
        if (isWatched) this.#refresher.start(secrets)
        return env
      } finally {
        wipeSecrets(secrets)
      }
    })
  }

  close(): void {
    this.#watch.stop()
    this.#refresher.stop()
    this.#given.remove()
    this.#output?.wipe()
  }

  async #isToBeWatched(): Promise<boolean> {
    const { onChange, assignments, terminal, log } = this.#options
    if (onChange?.kind === 'ignore' || assignments.length === 0) return false
    // A shell that somebody types into must not go away under their hands.
    if (onChange === undefined && terminal) return false
    if (onChange?.kind === 'signal') {
      const variables = assignments.filter(({ form }) => form === 'value').map(({ variable }) => variable)
      if (variables.length > 0) log.warn(VARIABLES_STAY, { variables: variables.join(', ') })
    }
    const agentRuns = await this.#watch.start()
    if (agentRuns || onChange !== undefined) return true
    this.#watch.stop()
    return false
  }

  #provide(secrets: Secrets): NodeJS.ProcessEnv {
    const short = this.#output?.learn(secrets) ?? []
    if (short.length > 0) this.#options.log.warn(TOO_SHORT, { secrets: short.join(', ') })
    return { ...this.#options.env, ...this.#given.provide(secrets) }
  }

  #change(secrets: Secrets): void {
    const { onChange, log } = this.#options
    const env = this.#provide(secrets)
    if (onChange?.kind === 'signal') {
      log.info('the command is sent a signal, because its secrets have changed', { signal: onChange.signal })
      this.#command.signal(onChange.signal)
    } else {
      log.info('the command is started anew, because its secrets have changed')
      this.#command.restart(env)
    }
  }
}

const TOO_SHORT = 'these secrets are too short to be hidden in the output of the command'
const VARIABLES_STAY = 'variables of a command that runs cannot change; these keep the values it starts with'
