/** `claw` in a terminal, with somebody who answers. `script` holds the terminal. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

const CLAW = join(import.meta.dirname, '../../bin/claw.js')

export const hasTerminal = spawnSync('script', ['--version']).status === 0

/** Types the answer once it is asked for; what the terminal shows, and the exit code. */
export async function inTerminal(
  args: readonly string[],
  { env, asked, answer }: { env: Readonly<Record<string, string>>; asked: string; answer: string },
): Promise<{ readonly code: number | null; readonly shown: string }> {
  const command = [process.execPath, CLAW, ...args].map((word) => `'${word}'`).join(' ')
  const terminal = spawn('script', ['-qefc', `exec ${command}`, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  })
  let shown = ''
  let answered = false
  terminal.stdout.on('data', (chunk) => {
    shown += chunk
    if (answered || !shown.includes(asked)) return
    answered = true
    terminal.stdin.write(`${answer}\r`)
  })
  const [code] = (await once(terminal, 'close')) as [number | null]
  terminal.stdin.destroy()
  return { code, shown }
}
