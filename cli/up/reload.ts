/** Has the `claw up` of a directory read its files again, and waits until it runs with them. */
import { setTimeout as sleep } from 'node:timers/promises'
import { EXIT, UserError } from '../../host/user-error.ts'
import { findRunningGateway, readRunFile } from '../run-file.ts'
import { isAlive, type ProcessIdentity } from './processes.ts'

/** A start takes a second or two; on a machine whose cores are all busy, ten times as long. */
const TIMEOUT_MS = 60_000
const POLL_MS = 50

/** Of the gateway at this URL: whether it runs with what the files hold now. It may throw while the gateway starts anew. */
export type ReloadProbe = (url: string) => Promise<boolean>

/**
 * @returns false if no gateway runs there: the files count from its next start.
 * @throws UserError if it did not take the files, ended, or was not seen with them in time.
 */
export async function reloadRunningGateway(directory: string, probe: ReloadProbe): Promise<boolean> {
  // Checks that the directory can be believed, too.
  findRunningGateway(directory)
  const run = readRunFile(directory)
  if (run === undefined || !isAlive(run.gateway)) return false
  process.kill(run.gateway.pid, 'SIGHUP')

  const until = performance.now() + TIMEOUT_MS
  const before = run.reload?.count ?? 0
  await poll(directory, run.gateway, until, async () => {
    const reload = readRunFile(directory)?.reload
    if (reload === undefined || reload.count <= before) return false
    if (reload.refused !== undefined) throw refused(directory, reload.refused)
    return true
  })
  // One that was still starting has a URL only now.
  const url = findRunningGateway(directory)?.url
  await poll(
    directory,
    run.gateway,
    until,
    async () => url !== undefined && (await probe(url).catch(() => false)),
  )
  return true
}

async function poll(
  directory: string,
  gateway: ProcessIdentity,
  until: number,
  isDone: () => Promise<boolean>,
): Promise<void> {
  while (!(await isDone())) {
    if (!isAlive(gateway)) throw ended(directory, gateway)
    if (performance.now() > until) throw notSeen(directory)
    await sleep(POLL_MS)
  }
}

const refused = (directory: string, why: string): UserError =>
  new UserError({
    code: 'E_RELOAD_REFUSED',
    message: `the gateway of ${directory} goes on with what it had`,
    why,
    exitCode: EXIT.conflict,
  })

const ended = (directory: string, { pid }: ProcessIdentity): UserError =>
  new UserError({
    code: 'E_GATEWAY_ENDED',
    message: `the gateway of ${directory} ended while it read its files again`,
    why: `process ${pid} is gone`,
    fix: 'start it, and see what it says',
    exitCode: EXIT.unavailable,
  })

const notSeen = (directory: string): UserError =>
  new UserError({
    code: 'E_RELOAD_TIMEOUT',
    message: `the gateway of ${directory} was not seen with its new files within ${TIMEOUT_MS / 1000} seconds`,
    fix: 'see what it logged; a restart takes the files in any case',
    exitCode: EXIT.timeout,
  })
