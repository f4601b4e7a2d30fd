/** The Worker as one ES module, made as `wrangler deploy` makes it. */
import { build } from 'esbuild'

export async function bundleWorker(entry: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    // Names stay as they are: they are what a log says.
    minifySyntax: true,
    minifyWhitespace: true,
    write: false,
    format: 'esm',
    target: 'es2024',
    platform: 'browser',
    conditions: ['workerd', 'worker', 'browser'],
    external: ['node:*', 'cloudflare:*', 'crypto'],
    define: { 'process.env.NODE_ENV': '"production"' },
    logLevel: 'silent',
  })
  const [bundle] = outputFiles
  if (bundle === undefined) throw new Error('esbuild returned nothing')
  return bundle.text
}
