/** Small tools of measuring. */

/** Runs `work` for each item, `width` at a time; returns how long all of it took, in ms, and each item's own time. */
export async function inFlight<T>(
  items: readonly T[],
  width: number,
  work: (item: T, index: number) => Promise<void>,
): Promise<{ readonly ms: number; readonly each: readonly number[] }> {
  const each: number[] = []
  let next = 0
  const begun = performance.now()
  const lane = async () => {
    while (next < items.length) {
      const index = next++
      const item = items[index] as T
      const started = performance.now()
      await work(item, index)
      each.push(performance.now() - started)
    }
  }
  await Promise.all(Array.from({ length: width }, lane))
  return { ms: performance.now() - begun, each }
}

/** The value below which `share` of all lie. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}

/** Resolves when the condition holds, looked at after each turn of `step` ms; rejects after `limit` ms. */
export async function until(condition: () => boolean, limit: number, step = 2): Promise<void> {
  const deadline = performance.now() + limit
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not reached within ${limit} ms`)
    await new Promise((resolve) => setTimeout(resolve, step))
  }
}

export const perSecond = (count: number, ms: number): number => Math.round((count * 1000) / ms)
