import { describe, expect, test } from 'vitest'
import { createLog } from '../../agent/log.ts'
import { busyPercent, HostTelemetry } from '../../agent/telemetry/host.ts'
import { changedMaterially } from '../../agent/telemetry/material-change.ts'
import { TelemetryReporter } from '../../agent/telemetry/reporter.ts'
import { Telemetry } from '../../protocol/frames.ts'
import { ManualClock } from '../support/manual-clock.ts'

const GIB = 2 ** 30
const calm: Telemetry = {
  uptimeSeconds: 1000,
  load1: 1,
  memoryTotalBytes: 16 * GIB,
  memoryFreeBytes: 8 * GIB,
  cpuPercent: 10,
  mesh: { peers: 3, reachable: 3 },
}

describe('a change worth a frame', () => {
  test.each<[string, Partial<Telemetry>, boolean]>([
    ['nothing', {}, false],
    ['time passing', { uptimeSeconds: 1010 }, false],
    ['cpu by 19 points', { cpuPercent: 29 }, false],
    ['cpu by 20 points', { cpuPercent: 30 }, true],
    ['memory by a little', { memoryFreeBytes: 7 * GIB }, false],
    ['memory by a tenth of all', { memoryFreeBytes: 6 * GIB }, true],
    ['memory added', { memoryTotalBytes: 32 * GIB }, true],
    ['load by 0.9', { load1: 1.9 }, false],
    ['load by 1, to twice as much', { load1: 2 }, true],
    ['a peer out of reach', { mesh: { peers: 3, reachable: 2 } }, true],
    ['a reboot', { uptimeSeconds: 5 }, true],
  ])('%s: %o', (_, change, material) => {
    expect(changedMaterially(calm, { ...calm, ...change })).toBe(material)
  })

  test('load by 1 is noise on a machine that runs at 30', () => {
    expect(changedMaterially({ ...calm, load1: 30 }, { ...calm, load1: 31 })).toBe(false)
  })
})

describe('reporter', () => {
  const start = () => {
    const clock = new ManualClock()
    const lines: string[] = []
    const sent: { readonly n: number; readonly at: number }[] = []
    const state = { sample: calm, acknowledges: true }
    const reporter: TelemetryReporter = new TelemetryReporter({
      clock,
      log: createLog({ level: 'info', write: (line) => lines.push(line), now: clock.now.bind(clock) }),
      sample: () => state.sample,
      send: (n) => {
        sent.push({ n, at: clock.elapsed() })
        if (state.acknowledges) reporter.acknowledge(n)
      },
    })
    reporter.start(60_000)
    return { clock, lines, sent, state, reporter }
  }

  test('sends at once, then once a minute, each with its number', () => {
    const { clock, sent } = start()
    clock.advance(3 * 60_000)
    expect(sent).toEqual([
      { n: 1, at: 0 },
      { n: 2, at: 60_000 },
      { n: 3, at: 120_000 },
      { n: 4, at: 180_000 },
    ])
  })

  test('sends a material change within ten seconds', () => {
    const { clock, sent, state } = start()
    clock.advance(15_000)
    state.sample = { ...calm, cpuPercent: 95 }
    clock.advance(10_000)
    expect(sent.map(({ at }) => at)).toEqual([0, 20_000])
  })

  test('begins anew with each session, because the gateway forgot', () => {
    const { clock, sent, reporter } = start()
    clock.advance(5_000)
    reporter.stop()
    clock.advance(60_000)
    reporter.start(60_000)
    expect(sent.map(({ at }) => at)).toEqual([0, 65_000])
  })

  test('says once that nobody reads', () => {
    const { clock, lines, state } = start()
    state.acknowledges = false
    clock.advance(20 * 60_000)
    expect(lines.filter((line) => line.includes('telemetry is not acknowledged'))).toHaveLength(1)
  })
})

describe('this machine', () => {
  test('is described within the protocol’s schema', () => {
    const host = new HostTelemetry()
    expect(Telemetry.safeParse(host.sample()).success).toBe(true)
    expect(Telemetry.safeParse(host.sample()).success).toBe(true)
  })

  test('processor time is a share of what passed, or unknown', () => {
    expect(busyPercent({ busy: 100, total: 1000 }, { busy: 350, total: 2000 })).toBe(25)
    expect(busyPercent({ busy: 100, total: 1000 }, { busy: 100, total: 1000 })).toBeUndefined()
    expect(busyPercent({ busy: 100, total: 1000 }, { busy: 50, total: 2000 })).toBeUndefined()
  })
})
