/** `npm run build`: agent and CLI as one file each in dist/, which start faster and hold less memory than the sources. */
import { build } from 'esbuild'
import { ROOT } from './run.ts'

await build({
  absWorkingDir: ROOT,
  entryPoints: { clawnode: 'agent/main.ts' },
  outdir: 'dist',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  minify: true,
  platform: 'node',
  format: 'esm',
  target: 'node24',
  // `ws` is CommonJS and asks for Node's modules by require().
  banner: {
    js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
  },
  legalComments: 'none',
  logLevel: 'warning',
})
