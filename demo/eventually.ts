/** Waits for something to become true, and says what was seen if it does not. */
const STEP_MS = 100

export async function eventually<T>(
  limitMs: number,
  look: () => Promise<T>,
  good: (seen: T) => boolean,
): Promise<{ seen: T; ms: number }> {
  const begun = performance.now()
  for (;;) {
    const seen = await look()
    const ms = performance.now() - begun
    if (good(seen)) return { seen, ms }
    if (ms > limitMs) throw new Error(`not reached within ${limitMs} ms; last seen: ${JSON.stringify(seen)}`)
    await new Promise((resolve) => setTimeout(resolve, STEP_MS))
  }
}
