import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TokenBucket } from '../../protocol/token-bucket.ts'

const RATE = { burst: 5, perSecond: 2 }

describe('a token bucket', () => {
  it('gives its burst at once, and then as its rate says', () => {
    const bucket = new TokenBucket(RATE)
    expect([1, 2, 3, 4, 5, 6].map(() => bucket.take(0))).toEqual([true, true, true, true, true, false])
    expect(bucket.take(499)).toBe(false)
    expect(bucket.take(500)).toBe(true)
    expect(bucket.take(500)).toBe(false)
  })

  it('takes nothing where there is not enough', () => {
    const bucket = new TokenBucket(RATE)
    expect(bucket.take(0, 6)).toBe(false)
    expect(bucket.take(0, 5)).toBe(true)
  })

  it('says how long until one can be taken', () => {
    const bucket = new TokenBucket(RATE)
    expect(bucket.wait(0)).toBe(0)
    bucket.take(0, 5)
    expect(bucket.wait(0)).toBe(500)
    expect(bucket.wait(100)).toBe(400)
    expect(bucket.take(500)).toBe(true)
  })

  it('gains nothing by a clock that is set back', () => {
    const bucket = new TokenBucket(RATE)
    bucket.take(10_000, 5)
    expect(bucket.take(0)).toBe(false)
    expect(bucket.take(499)).toBe(false)
    expect(bucket.take(500)).toBe(true)
  })

  it('never gives more than the burst and what the time that passed adds', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(2000), fc.integer({ min: 1, max: 4 }))), (asked) => {
        const bucket = new TokenBucket(RATE)
        let now = 0
        let taken = 0
        for (const [passed, amount] of asked) {
          now += passed
          if (bucket.take(now, amount)) taken += amount
          expect(taken).toBeLessThanOrEqual(RATE.burst + (now * RATE.perSecond) / 1000)
        }
      }),
    )
  })
})
