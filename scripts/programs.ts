/**
 * dist/: both programs, and what `claw up` needs beside its own. From its 400 source files a command takes twice as long to start, and an
 * agent holds a fifth more memory. Each program is one file: what it imports later cannot be of another build.
 */
import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { build } from 'esbuild'
import { inBuild, MIGRATIONS, SOCKET_PLUGIN, WORKER, WRANGLER_CONFIG } from '../cli/up/build-output.ts'
import { readMigrations } from './migrations.ts'
import { ROOT } from './run.ts'
import { bundleWorker } from './worker-bundle.ts'

export async function buildPrograms(): Promise<void> {
  const files = await Promise.all([
    bundleProgram('cli/main.ts', inBuild('claw.mjs')),
    bundleProgram('agent/main.ts', inBuild('clawnode.mjs')),
    bundleProgram('cli/up/public-socket.ts', SOCKET_PLUGIN),
    bundleWorker(join(ROOT, 'worker/embedded.ts')).then((text) => [WORKER, text] as const),
    readFile(join(ROOT, 'wrangler.toml'), 'utf8').then((text) => [WRANGLER_CONFIG, text] as const),
  ])
  const migrations = JSON.stringify(readMigrations(join(ROOT, 'migrations')))
  for (const [path, text] of [...files, [MIGRATIONS, migrations] as const]) await replaceFile(path, text)
}

async function bundleProgram(entry: string, outfile: string): Promise<readonly [string, string]> {
  const { outputFiles } = await build({
    absWorkingDir: ROOT,
    entryPoints: [entry],
    outfile,
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    // It finds workerd by where it lies itself.
    external: ['miniflare'],
    // `ws` is CommonJS and asks for Node's modules by require().
    banner: {
      js: "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);",
    },
    legalComments: 'none',
    logLevel: 'warning',
  })
  const [bundle] = outputFiles
  if (bundle === undefined) throw new Error(`esbuild made nothing of ${basename(entry)}`)
  return [outfile, bundle.text]
}

/** In one step, and only if it differs: a program may be starting from it. */
async function replaceFile(path: string, text: string): Promise<void> {
  if ((await readFile(path, 'utf8').catch(() => undefined)) === text) return
  await mkdir(dirname(path), { recursive: true })
  const written = `${path}.${randomUUID()}`
  await writeFile(written, text)
  await rename(written, path)
}
