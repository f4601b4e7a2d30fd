/** Runs a program for the project's own scripts, its output passed through. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** Exit status; 127 if the program cannot be started. */
export function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): number {
  const { status, error } = spawnSync(command, args, {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, PATH: `${ROOT}node_modules/.bin:${process.env['PATH']}`, ...QUIET, ...env },
  })
  if (error !== undefined) process.stderr.write(`${command}: ${error.message}\n`)
  return status ?? 127
}

/** Keeps wrangler and Miniflare from asking the network for anything. */
const QUIET = {
  WRANGLER_SEND_METRICS: 'false',
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
  NO_UPDATE_NOTIFIER: '1',
}
