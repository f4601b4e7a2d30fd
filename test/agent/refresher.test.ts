/** When secrets are fetched anew, and what becomes of what comes. On a clock in the test's hands. */
import { beforeEach, describe, expect, test } from 'vitest'
import { createLog } from '../../agent/log.ts'
import { ChangeWatch } from '../../agent/secrets/change-watch.ts'
import type { Secrets } from '../../agent/secrets/kept-secrets.ts'
import { GATHER_MS, Refresher } from '../../agent/secrets/refresher.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { UserError } from '../../host/user-error.ts'
import { SecretName } from '../../protocol/ids.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const name = SecretName.parse('password')

let clock: ManualClock
let now: string
let problem: string | undefined
let fetches: number
let used: string[]
let lines: string[]
let handedOut: SecretBytes[]
/** What happens while the gateway answers. */
let meanwhile: () => void

const secrets = (value: string): Secrets => {
  const bytes = SecretBytes.take(Uint8Array.from(Buffer.from(value)))
  handedOut.push(bytes)
  return new Map([['password', { value: bytes, version: 1, class: 'managed' }]])
}

beforeEach(() => {
  clock = new ManualClock()
  now = 'first'
  problem = undefined
  fetches = 0
  used = []
  lines = []
  handedOut = []
  meanwhile = () => {}
})

function make(): Refresher {
  return new Refresher({
    source: {
      fetch: async () => {
        fetches++
        if (problem !== undefined) throw new UserError({ code: problem, message: 'refused' })
        const value = now
        meanwhile()
        return secrets(value)
      },
    },
    references: [{ name }],
    clock,
    log: createLog({ level: 'debug', write: (line) => lines.push(line), now: () => 0 }),
    apply: (given) => {
      const text = Buffer.from(given.get('password')?.value.expose() ?? []).toString()
      if (text === 'unfit') throw new UserError({ code: 'E_SECRET_NOT_TEXT', message: 'unfit' })
      used.push(text)
    },
  })
}

/** Lets what has been begun come to its next timer, or its end. */
const settle = () => new Promise((resolve) => setImmediate(resolve))

async function pass(ms: number): Promise<void> {
  clock.advance(ms)
  await settle()
}

describe('a refresher', () => {
  test('looks once for a burst, and hands on what has changed, once', async () => {
    const refresher = make()
    refresher.start(secrets('first'))
    now = 'second'
    for (let n = 0; n < 50; n++) refresher.notice()
    await pass(GATHER_MS / 2)
    refresher.notice()
    await pass(GATHER_MS / 2 - 1)
    expect(fetches).toBe(0)
    await pass(1)
    expect([fetches, used]).toEqual([1, ['second']])
    refresher.notice()
    await pass(GATHER_MS)
    expect([fetches, used]).toEqual([2, ['second']])
    expect(clock.pending).toBe(0)
  })

  test('looks again for what changed while it looked', async () => {
    const refresher = make()
    refresher.start(secrets('first'))
    meanwhile = () => {
      now = 'second'
      refresher.notice()
      meanwhile = () => {}
    }
    refresher.notice()
    await pass(GATHER_MS)
    expect([fetches, used]).toEqual([1, []])
    await pass(GATHER_MS)
    expect([fetches, used]).toEqual([2, ['second']])
  })

  test('looks at what changed before it was started', async () => {
    const refresher = make()
    refresher.notice()
    await pass(1_000)
    expect(fetches).toBe(0)
    now = 'second'
    refresher.start(secrets('first'))
    await pass(GATHER_MS)
    expect(used).toEqual(['second'])
  })

  test.each(['E_GATEWAY_UNREACHABLE', 'E_UNAVAILABLE', 'E_INTERNAL', 'E_RATE_LIMITED'])(
    'asks again after %s, ever more rarely, and says so once',
    async (code) => {
      const refresher = make()
      refresher.start(secrets('first'))
      problem = code
      now = 'second'
      refresher.notice()
      await pass(GATHER_MS)
      for (const wait of [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
        const before = fetches
        await pass(wait - 1)
        await pass(1)
        await pass(GATHER_MS - 1)
        expect([wait, fetches]).toEqual([wait, before])
        await pass(1)
        expect([wait, fetches]).toEqual([wait, before + 1])
      }
      expect(lines).toHaveLength(1)
      problem = undefined
      await pass(30_000)
      await pass(GATHER_MS)
      expect(used).toEqual(['second'])
    },
  )

  test.each(['E_SECRET_DENIED', 'E_SECRET_NOT_FOUND', 'E_NODE_REMOVED', 'E_GATEWAY_KEY'])(
    'leaves it at what there is after %s, until something changes again',
    async (code) => {
      const refresher = make()
      refresher.start(secrets('first'))
      problem = code
      refresher.notice()
      await pass(GATHER_MS)
      expect([fetches, used, clock.pending]).toEqual([1, [], 0])
      expect(lines.join()).toContain(code)
      problem = undefined
      now = 'second'
      refresher.notice()
      await pass(GATHER_MS)
      expect(used).toEqual(['second'])
    },
  )

  test('goes on with the old values if the new ones will not do, and tries those that come after', async () => {
    const refresher = make()
    refresher.start(secrets('first'))
    for (now of ['unfit', 'first', 'third']) {
      refresher.notice()
      await pass(GATHER_MS)
    }
    expect(used).toEqual(['third'])
    expect(lines.join()).toContain('E_SECRET_NOT_TEXT')
  })

  test('wipes what it was given, and shows no value', async () => {
    const refresher = make()
    const current = secrets('first')
    refresher.start(current)
    now = 'canary-second'
    refresher.notice()
    await pass(GATHER_MS)
    expect(handedOut.map(String)).toEqual(['[REDACTED 5 bytes]', '[WIPED]'])
    expect(lines.join()).not.toContain('canary')
  })

  test('does nothing once it is stopped', async () => {
    const refresher = make()
    refresher.start(secrets('first'))
    now = 'second'
    refresher.notice()
    refresher.stop()
    await pass(60_000)
    refresher.notice()
    await pass(60_000)
    expect([fetches, used, clock.pending]).toEqual([0, [], 0])
  })
})

describe('where no agent runs', () => {
  test.each([
    [0, 54_000],
    [0.999, 66_000],
  ])('changes are looked for every minute, not all in the same moment (%d)', async (chance, interval) => {
    let changes = 0
    clock.chance = chance
    const onChange = () => changes++
    const watch = new ChangeWatch({ directory: temporaryDirectory(), names: [name], clock, onChange })
    let looked = clock.scheduled()
    expect(await watch.start()).toBe(false)
    const seen: number[] = []
    while (changes < 3) {
      const wait = await looked
      const before = changes
      looked = clock.scheduled()
      clock.advance(wait)
      await settle()
      if (changes > before) seen.push(clock.elapsed())
    }
    seen.forEach((at, index) => {
      expect(Math.abs(at - (index + 1) * interval)).toBeLessThan(5_000)
    })
    watch.stop()
    await settle()
    expect(clock.pending).toBe(0)
  })
})
