// Plain JavaScript, because an older Node must still be able to read it: it finds a Node that runs TypeScript, or says what to do.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import module from 'node:module'
import { fileURLToPath } from 'node:url'

const OLDEST = 24
/** Half of a command's start is reading TypeScript. Beside the code, and not in /tmp: whoever can write here can change the code as well. */
const COMPILED = fileURLToPath(new URL('../node_modules/.cache/compiled', import.meta.url))

export function launch(entry) {
  if (Number(process.versions.node.split('.')[0]) >= OLDEST) {
    module.enableCompileCache(COMPILED)
    return import(entry)
  }

  const bundled = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url))
  if (!existsSync(bundled)) {
    process.stderr.write(
      `error: this is Node ${process.versions.node}; run \`npm ci\` here once, or use Node ${OLDEST} or newer\n`,
    )
    process.exit(78)
  }
  const child = spawn(bundled, process.argv.slice(1), {
    stdio: 'inherit',
  })
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2']
  for (const signal of signals) process.on(signal, () => child.kill(signal))
  child.on('exit', (code, signal) => {
    if (!signal) process.exit(code)
    // The child's end is ours, which our own handlers would prevent.
    for (const handled of signals) process.removeAllListeners(handled)
    process.kill(process.pid, signal)
  })
}
