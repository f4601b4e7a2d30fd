/** Keeps a rendered file current until this program is told to end. */
import { UserError } from '../../host/user-error.ts'
import { onSignals } from '../child-process.ts'
import type { Clock } from '../clock.ts'
import type { NodeConfig } from '../config/node-config.ts'
import type { Log } from '../log.ts'
import { ChangeWatch } from './change-watch.ts'
import { wipeSecrets } from './kept-secrets.ts'
import type { SecretReference } from './reference.ts'
import { Refresher } from './refresher.ts'
import { type RenderHook, runHook } from './render-hook.ts'
import type { RenderedFile } from './rendered-file.ts'
import type { SecretSource } from './secret-source.ts'

interface Options {
  readonly config: NodeConfig
  readonly source: SecretSource
  readonly references: readonly SecretReference[]
  readonly file: RenderedFile
  readonly hook: RenderHook
  readonly waitMs: number
  readonly clock: Clock
  readonly log: Log
}

/** @throws UserError if the file cannot be written the first time. */
export async function watchFile(options: Options): Promise<void> {
  const { config, source, references, file, hook, waitMs, clock, log } = options
  let hooks = Promise.resolve()
  // One at a time, however fast the secrets change.
  const isNew = () => {
    log.info('the file is new')
    hooks = hooks.then(() => runHook(hook)).catch((error: unknown) => complain(log, error))
  }
  const refresher = new Refresher({
    source,
    references,
    clock,
    log,
    apply: (secrets) => {
      if (file.write(secrets)) isNew()
    },
  })
  const names = [...new Set(references.map(({ name }) => name))]
  const watch = new ChangeWatch({
    directory: config.directory,
    names,
    clock,
    onChange: () => refresher.notice(),
  })
  try {
    if (names.length > 0) await watch.start()
    const { secrets, isKept } = await source.obtain(references, waitMs).catch((error: unknown) => {
      throw error instanceof UserError ? file.locate(error) : error
    })
    const ended = toldToEnd()
    try {
      if (file.write(secrets)) isNew()
      if (isKept) refresher.notice()
      refresher.start(secrets)
    } finally {
      wipeSecrets(secrets)
    }
    await ended
    await hooks
  } finally {
    watch.stop()
    refresher.stop()
  }
}

/** Its own timer, because nothing else keeps a program alive that only waits. */
function toldToEnd(): Promise<void> {
  return new Promise((resolve) => {
    const alive = setInterval(() => {}, 2 ** 30)
    const stop = onSignals(false, (signal) => {
      if (!['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'].includes(signal)) return
      stop()
      clearInterval(alive)
      resolve()
    })
  })
}

function complain(log: Log, error: unknown): void {
  if (!(error instanceof UserError)) throw error
  const { code, message, why } = error
  log.error(message, { code, why })
}
