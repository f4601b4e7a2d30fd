// Plain JavaScript, because an older Node must still be able to read it: it finds a Node that runs TypeScript, or says what to do.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const OLDEST = 24

export function launch(entry) {
  if (Number(process.versions.node.split('.')[0]) >= OLDEST) return import(entry)

  const bundled = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url))
  if (!existsSync(bundled)) {
    process.stderr.write(
      `error: this is Node ${process.versions.node}; run \`npm ci\` here once, or use Node ${OLDEST} or newer\n`,
    )
    process.exit(78)
  }
  const child = spawn(bundled, [fileURLToPath(new URL(entry, import.meta.url)), ...process.argv.slice(2)], {
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
