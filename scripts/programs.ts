/**
 * dist/: both programs and the Worker of the embedded gateway, bundled. From its 400 source files a command takes twice as long to start, and
 * an agent holds a fifth more memory.
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { build } from 'esbuild'
import { ROOT } from './run.ts'
import { bundleWorker } from './worker-bundle.ts'

const DIST = join(ROOT, 'dist')

export async function buildPrograms(): Promise<void> {
  const [worker, programs] = await Promise.all([
    bundleWorker(join(ROOT, 'worker/embedded.ts')),
    bundlePrograms(),
  ])
  const files = new Map([...programs, ['gateway.mjs', worker]])
  await mkdir(DIST, { recursive: true })
  for (const [name, text] of files) await replaceFile(join(DIST, name), text)
  for (const name of await readdir(DIST)) if (!files.has(name)) await rm(join(DIST, name), { force: true })
}

async function bundlePrograms(): Promise<[string, string][]> {
  const { outputFiles } = await build({
    absWorkingDir: ROOT,
    entryPoints: { claw: 'cli/main.ts', clawnode: 'agent/main.ts' },
    outdir: DIST,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    write: false,
    // What is imported only when it is needed stays apart.
    splitting: true,
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
  return outputFiles.map(({ path, text }) => [basename(path), text])
}

/** In one step, and only if it differs: a program may be starting from it. */
async function replaceFile(path: string, text: string): Promise<void> {
  if ((await readFile(path, 'utf8').catch(() => undefined)) === text) return
  const written = `${path}.${process.pid}`
  await writeFile(written, text)
  await rename(written, path)
}
