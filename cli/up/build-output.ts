/** What `npm run build` has put into dist/: all of it is of the same sources, while a checkout may have changed since. */
import { findPackageJSON } from 'node:module'
import { dirname, join } from 'node:path'

export const PACKAGE_ROOT = dirname(findPackageJSON('.', import.meta.url) ?? import.meta.dirname)

/** Bundle of worker/embedded.ts, around the `main` of wrangler.toml. */
export const WORKER = inBuild('gateway.mjs')
export const WRANGLER_CONFIG = inBuild('wrangler.toml')
export const MIGRATIONS = inBuild('migrations')
/** Bundle of public-socket.ts. */
export const SOCKET_PLUGIN = inBuild('public-socket.mjs')

function inBuild(name: string): string {
  return join(PACKAGE_ROOT, 'dist', name)
}
