/** What is done when a rendered file is new: a command is run, or the process that reads the file is sent a signal. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
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
    const text = readFileSync(pidFile, 'utf8').trim()
    // Zero and negative numbers are groups of processes, this one's among them.
    if (!/^[1-9][0-9]{0,9}$/.test(text)) throw new Error('it does not hold the number of a process')
    process.kill(Number(text), name)
  } catch (error) {
    throw failed(
      `${name} was not sent`,
      `${pidFile}: ${error instanceof Error ? error.message : String(error)}`,
    )
  }
}

const failed = (message: string, why: string): UserError =>
  new UserError({ code: 'E_RENDER_HOOK', message, why })
