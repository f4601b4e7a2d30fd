/** How fast the audit object takes entries, in workerd, through RPC, as the gateway calls it; with a Worker of the benchmark's own around it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { Miniflare } from 'miniflare'
import { readWorkerConfig } from '../cli/up/worker-config.ts'

/** Appends `count` entries with `width` calls under way at a time, and says how long it took by the clock of whoever asked. */
const WORKER = `
export { AuditLog } from './durable-objects/audit-log.ts'
const event = (n) => ({ actor: 'node:abcdefghijklmnopqrstuvwxyz', action: 'secret.read', target: 'secret:app/database/password',
  outcome: 'allowed', reason: 'version 3: rule 1 allows tag gpu', requestId: 'req_' + crypto.randomUUID(), detail: { version: n } })
export default {
  async fetch(request, env) {
    const [, width, count] = new URL(request.url).pathname.split('/').map(Number)
    const log = env.AUDIT_LOG.getByName('bench')
    const before = (await log.counters()).counters.rows_written
    let next = 0
    const lane = async () => { while (next < count) await log.append([event(next++)]) }
    await Promise.all(Array.from({ length: width }, lane))
    return Response.json({ rows: (await log.counters()).counters.rows_written - before })
  },
}`

export interface Appends {
  readonly width: number
  readonly perSecond: number
  readonly rowsEach: number
}

export async function measureAppends(widths: readonly number[], count: number): Promise<Appends[]> {
  const directory = mkdtempSync(join(tmpdir(), 'claw-bench-audit-'))
  const { compatibility_date } = readWorkerConfig()
  const { outputFiles } = await build({
    stdin: { contents: WORKER, resolveDir: join(import.meta.dirname, '..') },
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2024',
    conditions: ['workerd', 'worker', 'browser'],
    external: ['cloudflare:*'],
  })
  const contents = outputFiles[0]?.text ?? ''
  const miniflare = new Miniflare({
    cf: false,
    enableDevRegistry: false,
    telemetry: { enabled: false },
    resourcePersistencePath: directory,
    workers: [
      {
        config: {
          name: 'bench',
          compatibilityDate: compatibility_date,
          manifest: { mainModule: 'index.js', modules: { 'index.js': { type: 'esm', contents } } },
          exports: { AuditLog: { type: 'durable-object', storage: 'sqlite' } },
          env: { AUDIT_LOG: { type: 'durable-object', worker: 'bench', exportName: 'AuditLog' } },
        },
        dev: { unsafeRegisterWorker: false },
      },
    ],
  })
  try {
    const url = await miniflare.ready
    const run = async (width: number, entries: number): Promise<Appends> => {
      const begun = performance.now()
      const { rows } = (await (await fetch(new URL(`/${width}/${entries}`, url))).json()) as { rows: number }
      return { width, perSecond: (entries * 1000) / (performance.now() - begun), rowsEach: rows / entries }
    }
    await run(16, 2000)
    const figures: Appends[] = []
    for (const width of widths) figures.push(await run(width, count))
    return figures
  } finally {
    await miniflare.dispose()
    rmSync(directory, { recursive: true, force: true })
  }
}
