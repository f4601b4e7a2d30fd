/** What is done when a rendered file is new: a command is run, or the process that reads the file is sent a signal. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, fstatSync, openSync, readFileSync, statSync } from 'node:fs'
import { UserError } from '../../host/user-error.ts'

export interface RenderHook {
  /** For `sh -c`. */
  readonly command: string | undefined
  readonly signal: { readonly name: NodeJS.Signals; readonly pidFile: string } | undefined
}

/** @throws UserError E_RENDER_HOOK if it fails; the file is new all the same. */
export async function runHook({ command, signal }: RenderHook): Promise<void> {
  if (signal !== undefined) sendSignal(signal)
  if (command !== undefined) await runCommand(command)
}

async function runCommand(command: string): Promise<void> {
  const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'inherit', 'inherit'] })
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
  if (code !== 0) throw failed('the command of --exec failed', `it ended with ${signal ?? `status ${code}`}`)
}

function sendSignal({ name, pidFile }: NonNullable<RenderHook['signal']>): void {
  try {
    process.kill(readPid(pidFile), name)
  } catch (error) {
    throw failed(
      `${name} was not sent`,
      `${pidFile}: ${error instanceof Error ? error.message : String(error)}`,
    )
  }
}

function readPid(path: string): number {
  const file = openSync(path, 'r')
  try {
    const text = readFileSync(file, 'utf8').trim()
    // Zero and negative numbers are groups of processes, this one's among them.
    if (!/^[1-9][0-9]{0,9}$/.test(text)) throw new Error('it does not hold the number of a process')
    // A service writes its own pid file, and must not have root signal whatever it names there.
    const { uid: owner } = fstatSync(file)
    if (owner !== 0 && owner !== process.getuid?.() && statSync(`/proc/${text}`).uid !== owner)
      throw new Error('it belongs to another user than the process that it names')
    return Number(text)
  } finally {
    closeSync(file)
  }
}

const failed = (message: string, why: string): UserError =>
  new UserError({ code: 'E_RENDER_HOOK', message, why })
