import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  MAX_RETRY_AFTER_MS,
  nextWait,
  parseRetryAfter,
  SUPERSEDED_WAIT_MS,
  supersededWait,
} from '../../agent/session/backoff.ts'
import { RECONNECT_CAP_MS, RECONNECT_FIRST_MS, RECONNECT_STABLE_MS } from '../../protocol/limits.ts'

const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

describe('the wait before the next attempt', () => {
  test('spreads the first one after a stable session over fifteen seconds, whatever went before', () => {
    fc.assert(
      fc.property(
        fc.nat(50),
        chance,
        fc.integer({ min: RECONNECT_STABLE_MS }),
        (failures, random, livedMs) => {
          expect(nextWait(failures, { livedMs }, random)).toEqual({
            delayMs: random * RECONNECT_FIRST_MS,
            failures: 0,
          })
        },
      ),
    )
  })

  test('grows from two seconds to a minute with full jitter, and never beyond', () => {
    const ceilings = [0, 1, 2, 3, 4, 5, 6, 100].map(
      (n) => nextWait(n, { livedMs: undefined }, 0.999_999).delayMs,
    )
    expect(ceilings.map((ms) => Math.round(ms / 1000))).toEqual([2, 4, 8, 16, 32, 60, 60, 60])
    fc.assert(
      fc.property(fc.nat(5000), chance, (failures, random) => {
        const { delayMs } = nextWait(failures, { livedMs: undefined }, random)
        expect(delayMs).toBeGreaterThanOrEqual(0)
        expect(delayMs).toBeLessThan(RECONNECT_CAP_MS)
      }),
    )
  })

  test('a session that was up for less than two minutes does not reset it, and is spread as well', () => {
    expect(nextWait(0, { livedMs: RECONNECT_STABLE_MS - 1 }, 0.5)).toEqual({
      delayMs: RECONNECT_FIRST_MS / 2,
      failures: 1,
    })
    expect(nextWait(10, { livedMs: 5_000 }, 0.5)).toEqual({ delayMs: RECONNECT_CAP_MS / 2, failures: 11 })
  })

  test('is never shorter than Retry-After, and not silenced for ever by it', () => {
    fc.assert(
      fc.property(
        fc.nat(20),
        chance,
        fc.option(fc.nat(), { nil: undefined }),
        fc.nat(),
        (failures, random, livedMs, retryAfterMs) => {
          const { delayMs } = nextWait(failures, { livedMs, retryAfterMs }, random)
          expect(delayMs).toBeGreaterThanOrEqual(Math.min(retryAfterMs, MAX_RETRY_AFTER_MS))
          expect(delayMs).toBeLessThanOrEqual(MAX_RETRY_AFTER_MS + RECONNECT_CAP_MS)
        },
      ),
    )
  })

  test('is long once another session took over', () => {
    fc.assert(fc.property(chance, (random) => supersededWait(random) >= SUPERSEDED_WAIT_MS))
  })
})

test('a herd of ten thousand that loses its gateway for a minute never comes at once, and is back within another', () => {
  const nodes = 10_000
  const outageMs = 60_000
  const perSecond = new Map<number, number>()
  const back: number[] = []
  const random = generator(1)
  for (let node = 0; node < nodes; node++) {
    let wait = nextWait(0, { livedMs: RECONNECT_STABLE_MS }, random())
    let at = wait.delayMs
    while (at < outageMs) {
      count(perSecond, at)
      wait = nextWait(wait.failures, { livedMs: undefined }, random())
      at += wait.delayMs
    }
    count(perSecond, at)
    back.push(at - outageMs)
  }
  const peak = Math.max(...perSecond.values())
  const peakAfter = Math.max(
    ...[...perSecond].filter(([second]) => second * 1000 >= outageMs).map(([, attempts]) => attempts),
  )
  expect(peak).toBeLessThan(3_500)
  expect(peakAfter).toBeLessThan(600)
  expect(Math.max(...back)).toBeLessThanOrEqual(RECONNECT_CAP_MS)
})

describe('Retry-After', () => {
  const now = Date.parse('2026-11-22T00:00:00Z')
  test.each([
    ['120', 120_000],
    ['0', 0],
    ['Sun, 22 Nov 2026 00:01:00 GMT', 60_000],
    ['Sat, 21 Nov 2026 00:00:00 GMT', 0],
    ['soon', undefined],
    [undefined, undefined],
  ])('%s', (value, expected) => {
    expect(parseRetryAfter(value, now)).toBe(expected)
  })
})

const count = (seconds: Map<number, number>, ms: number): void => {
  const second = Math.floor(ms / 1000)
  seconds.set(second, (seconds.get(second) ?? 0) + 1)
}

/** mulberry32: the same herd in every run. */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
