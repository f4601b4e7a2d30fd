import { describe, expect, test } from 'vitest'
import { FrameShare } from '../../agent/session/frame-share.ts'
import { Heartbeat } from '../../agent/session/heartbeat.ts'
import { type OutgoingSignal, SignalOutbox } from '../../agent/session/signal-outbox.ts'
import { toBase32 } from '../../protocol/base32.ts'
import { NodeId } from '../../protocol/ids.ts'
import { FRAME_BURST, FRAMES_PER_SECOND, MAX_SIGNALS_PER_FRAME } from '../../protocol/limits.ts'
import { ManualClock } from '../support/manual-clock.ts'

const nodeId = (n: number): NodeId => NodeId.parse(toBase32(new Uint8Array(16).fill(n & 255).fill(n >> 8, 8)))
const signals = (count: number, sealed = 'AAAA'): OutgoingSignal[] =>
  Array.from({ length: count }, (_, n) => ({ to: nodeId(n), kind: 'endpoints', sealed }))

describe('signals on their way out', () => {
  test('stay under the gateway’s frame limit at every moment, and all get there', () => {
    const clock = new ManualClock()
    const sent: { readonly at: number; readonly count: number }[] = []
    const outbox = new SignalOutbox(clock, new FrameShare(clock, 0.6), (batch) =>
      sent.push({ at: clock.elapsed(), count: batch.length }),
    )
    outbox.add(signals(10_000))
    clock.advance(60_000)
    expect(sent.reduce((sum, { count }) => sum + count, 0)).toBe(10_000)
    expect(sent.every(({ count }) => count <= MAX_SIGNALS_PER_FRAME)).toBe(true)
    for (const [index, { at }] of sent.entries()) {
      expect(index + 1).toBeLessThanOrEqual(FRAME_BURST + (at / 1000) * FRAMES_PER_SECOND)
    }
    expect(clock.pending).toBe(0)
  })

  test('of several for one peer only the newest goes out', () => {
    const clock = new ManualClock()
    const sent: { readonly sealed: string }[] = []
    const share = new FrameShare(clock, 0.6)
    while (share.take() === 0);
    const outbox = new SignalOutbox(clock, share, (batch) => sent.push(...batch))
    outbox.add(signals(2, 'old'))
    outbox.add(signals(1, 'new'))
    clock.advance(1_000)
    expect(sent.map(({ sealed }) => sealed)).toEqual(['new', 'old'])
  })

  test('are forgotten when the session ends', () => {
    const clock = new ManualClock()
    const share = new FrameShare(clock, 0.6)
    while (share.take() === 0);
    const outbox = new SignalOutbox(clock, share, () => expect.unreachable())
    outbox.add(signals(3))
    outbox.stop()
    clock.advance(60_000)
    expect(clock.pending).toBe(0)
  })
})

describe('heartbeat', () => {
  const beats = (answered: (n: number) => boolean) => {
    const clock = new ManualClock()
    let pings = 0
    let deadAt: number | undefined
    const heartbeat: Heartbeat = new Heartbeat(
      clock,
      15_000,
      () => {
        if (answered(++pings)) heartbeat.pong()
      },
      () => {
        deadAt = clock.elapsed()
      },
    )
    return { clock, pings: () => pings, deadAt: () => deadAt, heartbeat }
  }

  test('goes on for as long as it is answered', () => {
    const { clock, pings, deadAt } = beats(() => true)
    clock.advance(60 * 60_000)
    expect(pings()).toBeGreaterThanOrEqual(239)
    expect(deadAt()).toBeUndefined()
  })

  test('one answer in three is enough', () => {
    const { clock, deadAt } = beats((n) => n % 3 === 0)
    clock.advance(60 * 60_000)
    expect(deadAt()).toBeUndefined()
  })

  test('three pings without an answer end the link, once', () => {
    const { clock, pings, deadAt } = beats((n) => n <= 2)
    clock.advance(60 * 60_000)
    expect(pings()).toBe(5)
    expect(deadAt()).toBe(7_500 + 5 * 15_000)
    expect(clock.pending).toBe(0)
  })

  test('says nothing once it is stopped', () => {
    const { clock, pings, heartbeat } = beats(() => true)
    heartbeat.stop()
    clock.advance(60 * 60_000)
    expect(pings()).toBe(0)
  })
})
