/**
 * A command that can be started anew: asked to end by SIGTERM, made to by SIGKILL if it takes too long, and started again. What ends by
 * itself, or by somebody else's signal, is not: that is the business of whoever has started this program.
 */
import { type Command, type Ending, onSignals, startChild } from './child-process.ts'
import type { Clock, Timer } from './clock.ts'
import type { MaskedOutput } from './secrets/masked-output.ts'

interface Options {
  readonly command: Command
  readonly clock: Clock
  /** Whether standard input is one. */
  readonly terminal: boolean
  /** From SIGTERM to SIGKILL. */
  readonly graceMs: number
  /** Undefined if the command's output goes where this program's goes. */
  readonly output: MaskedOutput | undefined
}

export class SupervisedCommand {
  readonly #options: Options
  #child: ReturnType<typeof startChild> | undefined
  /** The environment of the next start, while one is under way. */
  #next: NodeJS.ProcessEnv | undefined
  #deadline: Timer | undefined
  /** Somebody has asked this program to end: then nothing is started again. */
  #ending = false

  constructor(options: Options) {
    this.#options = options
  }

  /**
   * Until the command has ended and is not to be started again. @param prepare makes the environment of the first start, and whatever has to
   * go with the command: from here on a signal no longer ends this program before it can clean up.
   */
  async run(prepare: () => NodeJS.ProcessEnv): Promise<Ending> {
    const { terminal } = this.#options
    const stop = onSignals(terminal, (signal, { passOn }) => {
      if (asksToEnd(signal, terminal)) this.#ending = true
      if (passOn) this.signal(signal)
    })
    try {
      for (let next = prepare(); ; next = this.#next) {
        this.#next = undefined
        const ending = await this.#once(next)
        if (this.#next === undefined || this.#ending) return ending
      }
    } finally {
      stop()
    }
  }

  /** The last environment that was given counts. */
  restart(env: NodeJS.ProcessEnv): void {
    if (this.#child === undefined) return
    const isUnderWay = this.#next !== undefined
    this.#next = env
    if (isUnderWay) return
    this.signal('SIGTERM')
    const { clock, graceMs } = this.#options
    this.#deadline = clock.after(graceMs, () => this.signal('SIGKILL'))
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.process.kill(signal)
  }

  async #once(env: NodeJS.ProcessEnv): Promise<Ending> {
    const { command, output } = this.#options
    const child = startChild(command, env, output === undefined ? 'inherit' : 'pipe')
    const shown = output?.show(child.process)
    this.#child = child
    const ending = await child.ended
    this.#deadline?.cancel()
    this.#child = undefined
    await shown?.finish()
    return ending
  }
}

/** A terminal that is gone sends SIGHUP; others mean by it that a file is to be read again. */
const asksToEnd = (signal: NodeJS.Signals, terminal: boolean): boolean =>
  ['SIGTERM', 'SIGINT', 'SIGQUIT'].includes(signal) || (terminal && signal === 'SIGHUP')
