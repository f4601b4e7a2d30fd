/** Miniflare, required as the CommonJS that it is: `import` would first compile its six megabytes to find that out. */
import { createRequire } from 'node:module'

export const { Log, LogLevel, Miniflare, TlsOptions_Version } = createRequire(import.meta.url)(
  'miniflare',
) as typeof import('miniflare')
