/** `claw` or `clawnode` in a terminal, with somebody who answers. `script` holds the terminal. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

const PROGRAMS = join(import.meta.dirname, '../../bin')

export const hasTerminal = spawnSync('script', ['--version']).status === 0

interface Conversation {
  readonly program?: 'claw' | 'clawnode'
  readonly env?: Readonly<Record<string, string>>
  readonly asked: string
  readonly answer: string
}

/** Types the answer once it is asked for; what the terminal shows, and the exit code. */
export async function inTerminal(
  args: readonly string[],
  { program = 'claw', env = {}, asked, answer }: Conversation,
): Promise<{ readonly code: number | null; readonly shown: string }> {
  const command = [process.execPath, join(PROGRAMS, `${program}.js`), ...args]
    .map((word) => `'${word}'`)
    .join(' ')
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
