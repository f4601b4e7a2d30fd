/** Runs the Worker in workerd on this machine, through Miniflare's API, in place of Cloudflare's network. */
import { readFileSync } from 'node:fs'
import type { Miniflare as MiniflareClass } from 'miniflare'
import { EXIT, UserError } from '../../host/user-error.ts'
import { MIGRATIONS, WORKER } from './build-output.ts'
import { Keeper } from './keeper.ts'
import { Log, LogLevel, Miniflare } from './miniflare.ts'
import { miniflareOptions } from './miniflare-options.ts'
import { ChildWatch, type ProcessIdentity } from './processes.ts'
import { readWorkerConfig } from './worker-config.ts'

const SWEEP_INTERVAL_MS = 60_000
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
  /** Told as soon as there is one, and again of each that takes its place. */
  readonly onWorkerd: (workerd: ProcessIdentity) => void
  /** Another Worker than the project's, for tests: its one module. */
  readonly script?: string
}

export type ReloadableOptions = Pick<GatewayOptions, 'tls' | 'bindings'>

export interface EmbeddedGateway {
  /**
   * Starts workerd anew with these, at the same address. Sessions are cut, and come back by themselves.
   * @throws UserError if it serves as before; anything else means that it serves no longer.
   */
  reload(changed: ReloadableOptions): Promise<void>
  stop(): Promise<void>
}

export async function startGateway(options: GatewayOptions): Promise<EmbeddedGateway> {
  // Miniflare would ask the network for sample request metadata.
  process.env['CLOUDFLARE_CF_FETCH_ENABLED'] = 'false'
  const config = readWorkerConfig()
  const keeper = new Keeper(readFileSync(MIGRATIONS, 'utf8'))
  const script = options.script ?? readFileSync(WORKER, 'utf8')

  /** Miniflare's writes to standard output, which is for data. */
  class StandardErrorLog extends Log {
    protected override log(message: string): void {
      options.log(message)
    }
  }
  const log = new StandardErrorLog(LogLevel.WARN)
  const child = new ChildWatch('workerd', options.onWorkerd)
  const settings = (current: GatewayOptions) => ({
    ...miniflareOptions(
      { ...current, bindings: { ...current.bindings, ...keeper.bindings } },
      config,
      script,
    ),
    log,
    unsafeHandleRuntimeRestart: () => child.report(Promise.resolve()),
  })
  const miniflare = withoutItsSignalHandlers(() => new Miniflare(settings(options)))
  const started = ready(miniflare, options)
  await Promise.all([started, child.report(started)])

  await keeper.ask(miniflare, '/migrate')

  let inForce = options
  let isReloading = false
  const apply = async (next: GatewayOptions): Promise<void> => {
    const restarted = miniflare.setOptions(settings(next))
    await Promise.all([restarted, child.report(restarted)])
    inForce = next
  }
  const sweeping = setInterval(() => {
    if (!isReloading) void sweep(miniflare, keeper, options)
  }, SWEEP_INTERVAL_MS)
  return {
    async reload(changed) {
      const before = inForce
      isReloading = true
      try {
        await apply({ ...before, ...changed })
      } catch (error) {
        await apply(before)
        throw notTaken(error)
      } finally {
        isReloading = false
      }
    },
    async stop() {
      clearInterval(sweeping)
      await miniflare.dispose()
    },
  }
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

/** Miniflare fires no cron by itself. */
async function sweep(miniflare: MiniflareClass, keeper: Keeper, { log }: GatewayOptions): Promise<void> {
  try {
    await keeper.ask(miniflare, '/sweep')
  } catch (error) {
    log(`error: the sweep failed: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** The reason may hold what a key file holds: it stays here. */
const notTaken = (error: unknown): UserError =>
  new UserError({
    code: 'E_RELOAD_FAILED',
    message: 'the runtime did not start with what the files hold now',
    why: error instanceof Error && 'code' in error ? String(error.code) : undefined,
  })
