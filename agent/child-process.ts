/** Runs a command in this one's place: same terminal, same signals, same ending. */
import { spawn } from 'node:child_process'
import { constants } from 'node:os'

/** SIGKILL and SIGSTOP cannot be passed on; SIGPIPE and SIGCHLD are this process's own business. */
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH'] as const
/** A terminal sends these to the whole foreground group: passing them on would make the child see Ctrl-C twice. */
const FROM_TERMINAL: readonly string[] = ['SIGINT', 'SIGQUIT', 'SIGWINCH']

const COMMAND_NOT_EXECUTABLE = 126
const COMMAND_NOT_FOUND = 127

type Ending =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signalled'; readonly signal: NodeJS.Signals }
  | { readonly kind: 'not_started'; readonly code: number; readonly reason: string }

/** @param terminal whether standard input is one. */
export function runInPlace(
  [command, ...args]: readonly [string, ...string[]],
  env: NodeJS.ProcessEnv,
  terminal: boolean,
): Promise<Ending> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { env, stdio: 'inherit' })
    const forwarders = FORWARDED.map((signal) => {
      const forward = () => {
        if (!(terminal && FROM_TERMINAL.includes(signal))) child.kill(signal)
      }
      process.on(signal, forward)
      return () => process.off(signal, forward)
    })
    const finish = (ending: Ending) => {
      for (const remove of forwarders) remove()
      resolve(ending)
    }
    child.once('error', (error: NodeJS.ErrnoException) => {
      if (child.pid === undefined) finish(notStarted(error.code))
    })
    child.once('exit', (code, signal) => {
      finish(signal === null ? { kind: 'exited', code: code ?? 1 } : { kind: 'signalled', signal })
    })
  })
}

/** What a shell reports, and `env` and `timeout` with it. */
const notStarted = (code: string | undefined): Ending =>
  code === 'ENOENT'
    ? { kind: 'not_started', code: COMMAND_NOT_FOUND, reason: 'command not found' }
    : {
        kind: 'not_started',
        code: COMMAND_NOT_EXECUTABLE,
        reason: `command cannot be executed (${code ?? 'unknown'})`,
      }

/**
 * Ends this process as the child ended, so that whoever waits for it sees the same. A signal that Node ignores (SIGPIPE) or that leaves
 * it alive becomes the shell's 128 + n.
 */
export function endAs(signal: NodeJS.Signals): never {
  process.kill(process.pid, signal)
  process.exit(128 + constants.signals[signal])
}
