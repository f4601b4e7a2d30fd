/** Miniflare, required as the CommonJS that it is: `import` would first compile its six megabytes to find that out. */
import { createRequire } from 'node:module'

// Miniflare would write each of these certificates into workerd's configuration, and copy all of it each time; the Worker calls nobody.
delete process.env['NODE_EXTRA_CA_CERTS']

export const { Log, LogLevel, Miniflare, TlsOptions_Version } = createRequire(import.meta.url)(
  'miniflare',
) as typeof import('miniflare')
