/** What `npm run build` has put into dist/: all of it is of the same sources, while a checkout may have changed since. */
import { findPackageJSON } from 'node:module'
import { join } from 'node:path'

export const inBuild = (name: string): string =>
  // The same from dist/ as from the sources.
  join(findPackageJSON('.', import.meta.url) ?? '', '../dist', name)

/** Bundle of worker/embedded.ts, around the `main` of wrangler.toml. */
export const WORKER = inBuild('gateway.mjs')
export const WRANGLER_CONFIG = inBuild('wrangler.toml')
/** JSON of what worker/embedded-migrations.ts applies. */
export const MIGRATIONS = inBuild('migrations.json')
/** Bundle of public-socket.ts. */
export const SOCKET_PLUGIN = inBuild('public-socket.mjs')
