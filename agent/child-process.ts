/** A command run in this one's place: same terminal, same signals, same ending. */
import { type ChildProcess, spawn } from 'node:child_process'
import { constants } from 'node:os'

/** SIGKILL and SIGSTOP cannot be passed on; SIGPIPE and SIGCHLD are this process's own business. */
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH'] as const
/** A terminal sends these to the whole foreground group: passing them on would make the child see Ctrl-C twice. */
const FROM_TERMINAL: readonly string[] = ['SIGINT', 'SIGQUIT', 'SIGWINCH']

const COMMAND_NOT_EXECUTABLE = 126
const COMMAND_NOT_FOUND = 127

export type Ending =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signalled'; readonly signal: NodeJS.Signals }
  | { readonly kind: 'not_started'; readonly code: number; readonly reason: string }

export type Command = readonly [string, ...string[]]

interface StartedChild {
  readonly process: ChildProcess
  readonly ended: Promise<Ending>
}

/** @param output whether its output comes through this process, or goes where this one's goes. */
export function startChild(
  [command, ...args]: Command,
  env: NodeJS.ProcessEnv,
  output: 'pipe' | 'inherit',
): StartedChild {
  const child = spawn(command, args, { env, stdio: ['inherit', output, output] })
  const ended = new Promise<Ending>((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      if (child.pid === undefined) resolve(notStarted(error.code))
    })
    child.once('exit', (code, signal) => {
      resolve(signal === null ? { kind: 'exited', code: code ?? 1 } : { kind: 'signalled', signal })
    })
  })
  return { process: child, ended }
}

/**
 * Calls back for each signal that this process is sent, in place of what it would do to it. @param terminal whether standard input is one.
 * @returns how to end that.
 */
export function onSignals(
  terminal: boolean,
  receive: (signal: NodeJS.Signals, options: { readonly passOn: boolean }) => void,
): () => void {
  const handlers = FORWARDED.map((signal) => {
    const handler = () => receive(signal, { passOn: !(terminal && FROM_TERMINAL.includes(signal)) })
    process.on(signal, handler)
    return () => process.off(signal, handler)
  })
  return () => {
    for (const remove of handlers) remove()
  }
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
