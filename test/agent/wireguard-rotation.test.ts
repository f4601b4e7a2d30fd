import { existsSync, readFileSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { createLog } from '../../agent/log.ts'
import { loadKeys, loadOrCreateKeys } from '../../agent/node-keys.ts'
import { WireguardRotation } from '../../agent/wireguard-rotation.ts'
import { UserError } from '../../host/user-error.ts'
import type { WireguardKeyBody } from '../../protocol/http.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const HOUR = 60 * 60_000
const DAY = 24 * 60 * 60_000
const MONTH = 30 * DAY

/** A node whose gateway and interface fail, or lose power, where a test says so. */
async function node(
  options: { readonly directory?: string; readonly everyMs?: number; readonly clock?: ManualClock } = {},
) {
  const directory = options.directory ?? temporaryDirectory()
  const keys = await loadOrCreateKeys(directory)
  const clock = options.clock ?? new ManualClock()
  const done: string[] = []
  const lines: string[] = []
  const fail = new Set<string>()
  /** With which codes the gateway refuses a step, one after the other. */
  const codes = new Map<string, string[]>()
  const step = (name: string) => {
    if (fail.has(name)) throw new Error(`no ${name}`)
    done.push(name)
  }
  const rotation = new WireguardRotation({
    node: {
      directory,
      keys,
      client: {
        tellWireguardKey: async ({ step: told }: WireguardKeyBody) => {
          const code = codes.get(told)?.shift()
          if (code !== undefined) throw new UserError({ code, message: 'refused' })
          step(told)
        },
      } as never,
    },
    mesh: {
      handOver: async (next, commit, isPatient) => {
        if (fail.has('gateway')) return 'no gateway'
        if (fail.has('peers') && isPatient) return 'peers away'
        step('prepare')
        commit()
        step(next.publicKey === keys.wireguard.publicKey ? 'swap' : 'swap of another key')
        return 'done'
      },
    },
    clock,
    log: createLog({ level: 'debug', write: (line) => lines.push(line), now: () => 0 }),
    everyMs: options.everyMs,
  })
  const path = (name: string) => join(directory, name)
  return {
    directory,
    keys,
    clock,
    rotation,
    done,
    fail,
    codes,
    lines,
    path,
    hasNext: () => existsSync(path('wireguard.next.key')),
  }
}

const settled = (check: () => void) => vi.waitFor(check, { timeout: 5_000, interval: 5 })

describe('another WireGuard key', () => {
  test('is on disk before anybody hears of it, in force before the interface has it, and alone when the gateway knows', async () => {
    const { keys, rotation, done, path, hasNext } = await node()
    const before = keys.wireguard
    const file = readFileSync(path('wireguard.key'), 'utf8')
    await rotation.rotate()
    expect(done).toEqual(['announce', 'prepare', 'swap', 'use'])
    expect(keys.wireguard.publicKey).not.toBe(before.publicKey)
    expect(readFileSync(path('wireguard.key'), 'utf8')).not.toBe(file)
    expect(statSync(path('wireguard.key')).mode & 0o777).toBe(0o600)
    expect(hasNext()).toBe(false)
    // The one before is destroyed, in memory too.
    expect(() => before.privateKey.expose()).toThrow('wiped')
  })

  test.each([
    ['announce', ['announce', 'prepare', 'swap', 'use']],
    ['prepare', ['announce', 'prepare', 'swap', 'use']],
    ['swap', ['use']],
    ['use', ['use']],
  ])('that is cut short at `%s` is finished by the next agent, with the same key', async (where, rest) => {
    const first = await node()
    first.fail.add(where)
    await expect(first.rotation.rotate()).rejects.toThrow(`no ${where}`)
    expect(first.hasNext()).toBe(true)
    expect(statSync(first.path('wireguard.next.key')).mode & 0o777).toBe(0o600)
    const planned = readFileSync(first.path('wireguard.next.key'), 'utf8')

    const second = await node({ directory: first.directory })
    second.rotation.connected()
    await settled(() => expect(second.hasNext()).toBe(false))
    expect(second.done).toEqual(rest)
    expect(readFileSync(second.path('wireguard.key'), 'utf8')).toBe(planned)
    expect((await loadKeys(first.directory)).wireguard.publicKey).toBe(second.keys.wireguard.publicKey)
  })

  test('waits for the gateway, and is done when it is back', async () => {
    const { keys, rotation, done, fail, clock } = await node()
    const before = keys.wireguard.publicKey
    fail.add('gateway')
    await expect(rotation.rotate()).rejects.toMatchObject({ code: 'E_ROTATION_POSTPONED' })
    expect(keys.wireguard.publicKey).toBe(before)
    fail.clear()
    rotation.connected()
    await settled(() => expect(done).toEqual(['announce', 'announce', 'prepare', 'swap', 'use']))
    rotation.disconnected()
    expect(clock.pending).toBe(0)
  })

  test('that a gateway has forgotten is announced again, and one that somebody has gives way to another', async () => {
    const { rotation, done, codes, path, keys } = await node()
    codes.set('use', ['E_KEY_NOT_ANNOUNCED'])
    await rotation.rotate()
    expect(done).toEqual(['announce', 'prepare', 'swap', 'announce', 'use'])

    const before = keys.wireguard.publicKey
    codes.set('announce', ['E_KEY_IN_USE'])
    await expect(rotation.rotate()).rejects.toMatchObject({ code: 'E_KEY_IN_USE' })
    expect([keys.wireguard.publicKey, existsSync(path('wireguard.next.key'))]).toEqual([before, false])
    await rotation.rotate()
    expect(keys.wireguard.publicKey).not.toBe(before)
  })

  test('is made once, however often it is asked for meanwhile', async () => {
    const { rotation, done } = await node()
    await Promise.all([rotation.rotate(), rotation.rotate()])
    expect(done.filter((name) => name === 'swap')).toHaveLength(1)
  })

  test('is due after a month, and not again the day after', async () => {
    const clock = new ManualClock()
    clock.chance = 0
    const { rotation, done, path } = await node({ everyMs: MONTH, clock })
    rotation.connected()
    await settled(() => expect(clock.pending).toBe(1))
    for (let day = 1; day <= 30; day++) {
      clock.advance(DAY)
      if (day < 30) await settled(() => expect(clock.pending).toBe(1))
    }
    await settled(() => expect(done).toContain('use'))
    // Files are dated by the true clock, which stood still meanwhile.
    utimesSync(path('wireguard.key'), new Date(clock.now()), new Date(clock.now()))
    done.length = 0
    await settled(() => expect(clock.pending).toBe(1))
    clock.advance(DAY)
    await settled(() => expect(clock.pending).toBe(1))
    expect(done).toEqual([])
  })

  test('that is due waits a week for peers that are cut off; one that is asked for does not', async () => {
    const clock = new ManualClock()
    clock.chance = 0
    const { rotation, done, fail, path, keys } = await node({ everyMs: MONTH, clock })
    const age = (ms: number) => {
      const made = new Date(clock.now() - ms)
      utimesSync(path('wireguard.key'), made, made)
    }
    fail.add('peers')
    age(MONTH + 6 * DAY)
    rotation.connected()
    await settled(() => expect(clock.pending).toBe(1))
    expect(done).toEqual(['announce'])
    const before = keys.wireguard.publicKey
    age(MONTH + 7 * DAY)
    clock.advance(HOUR)
    await settled(() => expect(done).toContain('use'))
    expect(keys.wireguard.publicKey).not.toBe(before)
    age(MONTH)
    await rotation.rotate()
    expect(done.filter((name) => name === 'use')).toHaveLength(2)
  })

  test.each([
    ['never, if it is switched off', undefined, 400 * DAY, false],
    ['at once, if it is of a time to come', MONTH, -DAY, true],
    ['at once, if it is overdue', MONTH, 400 * DAY, true],
  ])('is due %s', async (_, everyMs, ageMs, isDue) => {
    const clock = new ManualClock()
    const { rotation, done, path } = await node({ ...(everyMs !== undefined && { everyMs }), clock })
    const made = new Date(clock.now() - ageMs)
    utimesSync(path('wireguard.key'), made, made)
    rotation.connected()
    if (isDue) await settled(() => expect(done).toContain('use'))
    else {
      await new Promise(setImmediate)
      expect([done, clock.pending]).toEqual([[], 0])
    }
  })

  test('that fails is tried again while the session lasts', async () => {
    const { rotation, done, fail, clock, lines } = await node({ everyMs: MONTH })
    fail.add('announce')
    await rotation.rotate().catch((error) => {
      rotation.connected()
      rotation.report(error)
    })
    await settled(() => expect(lines.join()).toContain('tried again'))
    await settled(() => expect(clock.pending).toBe(1))
    fail.clear()
    clock.advance(60_000)
    await settled(() => expect(done).toContain('use'))
  })
})
