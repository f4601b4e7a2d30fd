/** What signals mean to `claw up`: SIGINT and SIGTERM end it, SIGHUP has it read its files again. */
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { isatty } from 'node:tty'

export interface UpSignals {
  /** The next that counts. One that came meanwhile counts, and several of a kind count once. */
  next(): Promise<'stop' | 'reload'>
}

/** Listens from now on, so that a signal during the start is obeyed after it. A second SIGINT or SIGTERM ends the process at once. */
export function listenForSignals(): UpSignals {
  const hasTerminal = [0, 1, 2].some((descriptor) => isatty(descriptor))
  const stop = Promise.race((['SIGINT', 'SIGTERM'] as const).map((signal) => once(process, signal)))
  const terminalGone = Promise.withResolvers<void>()
  let reload = Promise.withResolvers<void>()
  process.on('SIGHUP', () => {
    if (hasTerminal && !terminalIsThere()) terminalGone.resolve()
    else reload.resolve()
  })
  const stopped = Promise.race([stop, terminalGone.promise]).then(() => 'stop' as const)
  return {
    async next() {
      const what = await Promise.race([stopped, reload.promise.then(() => 'reload' as const)])
      if (what === 'reload') reload = Promise.withResolvers<void>()
      return what
    },
  }
}

/** The same signal says that a terminal was closed, and then it means the end, as it does to any program that was started in one. */
function terminalIsThere(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'))
    return true
  } catch {
    return false
  }
}
