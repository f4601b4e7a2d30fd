/**
 * Runs the system's own tools (`wg`, `ip`). What fails says which program and how, never with which arguments or input: a key must not
 * reach a log by way of an error (M-3).
 */
import { spawn } from 'node:child_process'
import { delimiter, isAbsolute } from 'node:path'

const TIMEOUT_MS = 10_000
/** Ten thousand peers are 2 MB of `wg show dump`. */
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024
const MAX_STDERR_BYTES = 4 * 1024

export interface Commands {
  /** The output of a command that must succeed; it finds `input` at /dev/stdin. @throws CommandError */
  run(program: string, args: readonly string[], input?: Uint8Array): Promise<Uint8Array>
  /** Starts a program that outlives this one. @throws CommandError if it cannot be started. */
  launch(program: string, args: readonly string[]): Promise<Launched>
}

interface Launched {
  readonly pid: number
  /** Aborted when the program has ended. */
  readonly ended: AbortSignal
}

export type CommandFailure = 'missing' | 'failed' | 'timed out' | 'too much output'

export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly program: string
  readonly failure: CommandFailure
  /** First line of standard error, without anything that could be a key. */
  readonly detail: string

  constructor(program: string, failure: CommandFailure, { status, stderr = '' }: Ending = {}) {
    const detail = withoutKeys(stderr.trim().split('\n', 1)[0] ?? '')
    const how = { missing: 'is not installed', failed: `exited with ${status ?? 'an unknown status'}` }
    const said = failure === 'missing' || failure === 'failed' ? how[failure] : failure
    super([`${program} ${said}`, ...(detail && failure === 'failed' ? [detail] : [])].join(': '))
    this.program = program
    this.failure = failure
    this.detail = detail
  }
}

interface Ending {
  readonly status?: string
  readonly stderr?: string
}

export const systemCommands: Commands = { run, launch }

/** 24 characters of a key's alphabet, in whatever encoding, are more than a message needs. */
const withoutKeys = (text: string): string => text.replace(/[A-Za-z0-9+/_=-]{24,}/g, '[REDACTED]')

/** Nothing of the agent's own environment, and messages in one language. */
const environment = () => ({ PATH: searchPath(process.env['PATH']), LC_ALL: 'C' })

/** Where only root's PATH has them, too; and never in the current directory, which an empty or a relative entry would mean. */
const searchPath = (path = ''): string =>
  [...path.split(delimiter).filter(isAbsolute), '/usr/sbin', '/usr/bin', '/sbin', '/bin'].join(delimiter)

function run(program: string, args: readonly string[], input?: Uint8Array): Promise<Uint8Array> {
  // Node's pipes to a child are sockets, and a socket cannot be opened as /dev/stdin: `cat` makes a true pipe of it.
  const [command, actual] =
    input === undefined ? [program, args] : ['sh', ['-c', 'cat | "$@"', 'sh', program, ...args]]
  return new Promise((resolve, reject) => {
    const child = spawn(command, actual, {
      env: environment(),
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      // A process group of its own: a Ctrl-C meant for the agent does not cut a change short, and a timeout ends all of it.
      detached: true,
    })
    const output: Buffer[] = []
    let bytes = 0
    let stderr = ''
    let stopped: CommandFailure | undefined
    const stop = (failure: CommandFailure) => {
      stopped ??= failure
      if (child.pid !== undefined) killGroup(child.pid)
    }
    const timer = setTimeout(() => stop('timed out'), TIMEOUT_MS)
    child.stdout?.on('data', (chunk: Buffer) => {
      output.push(chunk)
      bytes += chunk.length
      if (bytes > MAX_OUTPUT_BYTES) stop('too much output')
    })
    child.stderr?.on('data', (chunk: Buffer) => {
      if (stderr.length < MAX_STDERR_BYTES) stderr += chunk.toString('latin1')
    })
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
    child.once('error', () => {
      clearTimeout(timer)
      reject(new CommandError(program, 'missing'))
    })
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      const whole = Buffer.concat(output)
      for (const chunk of output) chunk.fill(0)
      if (code === 0 && stopped === undefined) return resolve(whole)
      whole.fill(0)
      // A shell's way of saying that it found no such program.
      const failure = stopped ?? (input !== undefined && code === 127 ? 'missing' : 'failed')
      reject(new CommandError(program, failure, { status: signal ?? `status ${code}`, stderr }))
    })
  })
}

function launch(program: string, args: readonly string[]): Promise<Launched> {
  return new Promise((resolve, reject) => {
    const ended = new AbortController()
    const child = spawn(program, args, { env: environment(), stdio: 'ignore', detached: true, cwd: '/' })
    child.once('error', () => reject(new CommandError(program, 'missing')))
    child.once('exit', () => ended.abort())
    child.once('spawn', () => {
      child.unref()
      if (child.pid !== undefined) resolve({ pid: child.pid, ended: ended.signal })
    })
  })
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It ended by itself in the meantime.
  }
}
