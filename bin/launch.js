// Plain JavaScript, because an older Node must still be able to read it: it finds a Node that can run the program, or says what to do.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import module from 'node:module'
import { fileURLToPath } from 'node:url'

const OLDEST = 24
const inCheckout = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url))
/** Half of a command's start is compiling it. Beside the code, and not in /tmp: whoever can write here can change the code as well. */
const COMPILED = inCheckout('node_modules/.cache/compiled')

/** @param name of the program in dist/, which `npm ci` makes. */
export function launch(name) {
  const program = new URL(`../dist/${name}`, import.meta.url)
  if (!existsSync(program))
    fail('this checkout is not built; run `npm ci` here once, or `npm run build` after it')
  if (Number(process.versions.node.split('.')[0]) >= OLDEST) {
    module.enableCompileCache(COMPILED)
    return import(program.href)
  }

  const bundled = inCheckout('node_modules/node/bin/node')
  if (!existsSync(bundled))
    fail(`this is Node ${process.versions.node}; run \`npm ci\` here once, or use Node ${OLDEST} or newer`)
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

function fail(why) {
  process.stderr.write(`error: ${why}\n`)
  process.exit(78)
}
