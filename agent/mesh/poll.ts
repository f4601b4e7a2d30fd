/** Waits for what the system says only when asked. */

const EVERY_MS = 20

/** The first defined answer; undefined if there is none before the deadline, or the signal aborts. */
export async function poll<T>(
  ask: () => T | undefined | Promise<T | undefined>,
  deadlineMs: number,
  signal?: AbortSignal,
): Promise<T | undefined> {
  const end = performance.now() + deadlineMs
  for (;;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (performance.now() >= end || signal?.aborted === true) return undefined
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS))
  }
}
