/** Runs the real `clawnode` as a process. Every process a test starts is gone when the test is. */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { onTestFinished } from 'vitest'

const ENTRY = join(import.meta.dirname, '../../bin/clawnode.js')

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface Output extends Ended {
  readonly stdout: string
  readonly stderr: string
}

export class Clawnode {
  readonly ended: Promise<Ended>
  readonly child: ChildProcess
  stdout = ''
  readonly stderrLines: string[] = []
  readonly #watchers = new Set<() => void>()

  constructor(
    args: readonly string[],
    { input = '', env = {} }: { input?: string; env?: NodeJS.ProcessEnv } = {},
  ) {
    // A group of its own, so that what it has started can be ended with it.
    this.child = spawn(process.execPath, [ENTRY, ...args], {
      env: { ...process.env, ...env },
      detached: true,
    })
    this.child.stdin?.on('error', () => {}).end(input)
    this.child.stdout?.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString()
      this.#look()
    })
    if (this.child.stderr !== null) {
      createInterface(this.child.stderr).on('line', (line) => {
        this.stderrLines.push(line)
        this.#look()
      })
    }
    this.ended = new Promise((resolve) =>
      this.child.once('close', (code, signal) => resolve({ code, signal })),
    )
    void this.ended.then(() => this.#look())
    onTestFinished(async () => {
      killGroup(this.child.pid)
      await this.ended
    })
  }

  /** Resolves once the output holds the text so often. @throws Error if the process ends first. */
  async prints(text: string, times = 1): Promise<void> {
    const found = () => countIn([this.stdout, ...this.stderrLines], text) >= times
    await new Promise<void>((resolve) => {
      const look = () => {
        if (!found() && this.child.exitCode === null && this.child.signalCode === null) return
        this.#watchers.delete(look)
        resolve()
      }
      this.#watchers.add(look)
      look()
    })
    if (!found()) throw new Error(`ended before it printed ${text}:\n${this.stderrLines.join('\n')}`)
  }

  #look(): void {
    for (const look of this.#watchers) look()
  }
}

const countIn = (texts: readonly string[], part: string): number =>
  texts.reduce((sum, text) => sum + text.split(part).length - 1, 0)

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // All of it has ended.
  }
}

/** Runs it to its end. */
export async function clawnode(
  args: readonly string[],
  options?: { input?: string; env?: NodeJS.ProcessEnv },
): Promise<Output> {
  const process = new Clawnode(args, options)
  const { code, signal } = await process.ended
  return { code, signal, stdout: process.stdout, stderr: process.stderrLines.join('\n') }
}
