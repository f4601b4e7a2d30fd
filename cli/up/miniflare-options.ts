/** The settings of Miniflare under which it runs the Worker as wrangler.toml describes it. */
import type { MiniflareOptions } from 'miniflare'
import type { GatewayOptions } from './embedded-gateway.ts'
import { publicSocketBinding } from './public-socket.ts'
import type { WorkerConfig } from './worker-config.ts'

export function miniflareOptions(options: GatewayOptions, config: WorkerConfig, script: string) {
  return {
    // Its own entry, for the sweep and the migrations: the clients' socket is publicSocketBinding's.
    host: '127.0.0.1',
    port: 0,
    httpsKey: options.tls.key,
    httpsCert: options.tls.chain,
    cf: false,
    logRequests: false,
    enableDevRegistry: false,
    telemetry: { enabled: false },
    resourcePersistencePath: options.stateDirectory,
    handleStructuredLogs: ({ level, message }) => options.log(`${level}: ${message}`),
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
  } satisfies MiniflareOptions
}

type Environment = NonNullable<MiniflareOptions['workers'][number]['config']['env']>

function environment(options: GatewayOptions, config: WorkerConfig): Environment {
  const env: Environment = publicSocketBinding({ host: options.host, port: options.port, ...options.tls })
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
