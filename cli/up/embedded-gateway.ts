/** Runs the Worker in workerd on this machine, through Miniflare's API, in place of Cloudflare's network. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Miniflare as MiniflareClass, MiniflareOptions } from 'miniflare'
import { EXIT, UserError } from '../../host/user-error.ts'
import { bundleWorker } from './bundle.ts'
import { applyMigrations } from './migrations.ts'
import { findChild, type ProcessIdentity } from './processes.ts'
import { inCheckout, readWorkerConfig, type WorkerConfig } from './worker-config.ts'

const SWEEP_INTERVAL_MS = 60_000
const CHILD_POLL_MS = 10
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

export interface GatewayOptions {
  readonly host: string
  readonly port: number
  readonly tls: { readonly key: string; readonly chain: string }
  /** Beside those of wrangler.toml, which they replace where both have one. */
  readonly bindings: Readonly<Record<string, string>>
  /** Where databases are kept; an absolute path. */
  readonly stateDirectory: string
  readonly log: (line: string) => void
  /** Told as soon as there is one, again when a crashed one was replaced. */
  readonly onWorkerd: (workerd: ProcessIdentity) => void
  /** Another Worker than the project's, for tests. */
  readonly entry?: string
}

export interface EmbeddedGateway {
  stop(): Promise<void>
}

export async function startGateway(options: GatewayOptions): Promise<EmbeddedGateway> {
  // Miniflare would ask the network for sample request metadata.
  process.env['CLOUDFLARE_CF_FETCH_ENABLED'] = 'false'
  const config = readWorkerConfig()
  const bundling = bundleWorker(options.entry ?? inCheckout(config.main))
  const [{ Log, LogLevel, Miniflare }, script] = await Promise.all([import('miniflare'), bundling])

  /** Miniflare's writes to standard output, which is for data. */
  class StandardErrorLog extends Log {
    protected override log(message: string): void {
      options.log(message)
    }
  }
  const log = new StandardErrorLog(LogLevel.WARN)
  const miniflare = withoutItsSignalHandlers(
    () => new Miniflare({ ...miniflareOptions(options, config, script), log }),
  )
  const started = ready(miniflare, options)
  await Promise.all([started, reportChild(options, started)])

  await applyMigrations(
    await miniflare.getD1Database(config.d1_databases[0].binding),
    inCheckout(config.d1_databases[0].migrations_dir),
  )
  const sweeping = setInterval(() => void runCron(miniflare, config, options), SWEEP_INTERVAL_MS)
  return {
    async stop() {
      clearInterval(sweeping)
      await miniflare.dispose()
    },
  }
}

function miniflareOptions(options: GatewayOptions, config: WorkerConfig, script: string): MiniflareOptions {
  return {
    host: options.host,
    port: options.port,
    httpsKey: options.tls.key,
    httpsCert: options.tls.chain,
    cf: false,
    logRequests: false,
    enableDevRegistry: false,
    telemetry: { enabled: false },
    resourcePersistencePath: options.stateDirectory,
    handleStructuredLogs: ({ level, message }) => options.log(`${level}: ${message}`),
    unsafeHandleRuntimeRestart: () => reportChild(options, Promise.resolve()),
    workers: [
      {
        config: {
          name: config.name,
          compatibilityDate: config.compatibility_date,
          compatibilityFlags: config.compatibility_flags,
          manifest: { mainModule: 'index.js', modules: { 'index.js': { type: 'esm', contents: script } } },
          exports: config.exports,
          env: environment(options, config),
        },
        dev: { unsafeRegisterWorker: false },
      },
    ],
  }
}

type Environment = NonNullable<MiniflareOptions['workers'][number]['config']['env']>

function environment(options: GatewayOptions, config: WorkerConfig): Environment {
  const env: Environment = {}
  for (const [name, value] of Object.entries({ ...config.vars, ...options.bindings }))
    env[name] = { type: 'text', value }
  for (const { name, class_name } of config.durable_objects.bindings) {
    env[name] = { type: 'durable-object', worker: config.name, exportName: class_name }
  }
  for (const { binding, database_name } of config.d1_databases)
    env[binding] = { type: 'd1', id: database_name }
  for (const { binding } of config.kv_namespaces) env[binding] = { type: 'kv', id: binding }
  return env
}

/** Miniflare's own handlers end the process with 128 + n before anything is put away. */
function withoutItsSignalHandlers<T>(make: () => T): T {
  const before = SIGNALS.map((signal) => process.listeners(signal))
  const made = make()
  SIGNALS.forEach((signal, index) => {
    const added = process.listeners(signal).filter((listener) => !before[index]?.includes(listener))
    for (const listener of added) process.removeListener(signal, listener)
  })
  return made
}

async function ready(miniflare: MiniflareClass, { host, port }: GatewayOptions): Promise<void> {
  try {
    await miniflare.ready
  } catch (error) {
    await miniflare.dispose().catch(() => {})
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_ADDRESS_IN_USE')) throw error
    throw new UserError({
      code: 'E_PORT_IN_USE',
      message: `another program already listens on ${host} port ${port}`,
      fix: 'use another --port, or stop that program',
      exitCode: EXIT.conflict,
    })
  }
}

/** Looks from the start, so that even a `kill -9` before it serves leaves nothing behind that cannot be found. */
async function reportChild({ onWorkerd }: GatewayOptions, started: Promise<unknown>): Promise<void> {
  let waiting = true
  void started
    .catch(() => {})
    .then(() => {
      waiting = false
    })
  for (;;) {
    const workerd = findChild('workerd')
    if (workerd !== undefined) return onWorkerd(workerd)
    if (!waiting) return
    await sleep(CHILD_POLL_MS)
  }
}

interface ScheduledWorker {
  scheduled(options: { readonly cron: string }): Promise<unknown>
}

/** Miniflare fires no cron by itself. */
async function runCron(
  miniflare: MiniflareClass,
  config: WorkerConfig,
  { log }: GatewayOptions,
): Promise<void> {
  try {
    // Its type comes with a package of workerd's types that clashes with Node's.
    const worker = (await miniflare.getWorker(config.name)) as unknown as ScheduledWorker
    await worker.scheduled({ cron: config.triggers.crons[0] })
  } catch (error) {
    log(`error: the sweep failed: ${error instanceof Error ? error.message : String(error)}`)
  }
}
