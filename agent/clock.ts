/** Time and chance, as the agent sees them. Everything else takes a `Clock`, so that a test decides both. */

export interface Clock {
  /** Unix milliseconds by this machine's clock, which may be wrong. */
  now(): number
  /** Milliseconds that never run backwards; only differences mean something. */
  elapsed(): number
  /** Uniform in [0, 1). For spreading load, never for secrets. */
  random(): number
  after(ms: number, callback: () => void): Timer
}

export interface Timer {
  cancel(): void
}

export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  random: () => Math.random(),
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms)
    return { cancel: () => clearTimeout(timer) }
  },
}

/** Resolves after `ms`, or at once when the signal aborts. */
export function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const finish = () => {
      timer.cancel()
      signal.removeEventListener('abort', finish)
      resolve()
    }
    const timer = clock.after(ms, finish)
    signal.addEventListener('abort', finish)
  })
}
