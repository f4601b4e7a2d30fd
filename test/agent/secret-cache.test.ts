/** Secrets kept for when the gateway is away: what opens them, and everything that must not. */
import {
  chmodSync,
  cpSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { createLog } from '../../agent/log.ts'
import { forgetCached, SecretCache } from '../../agent/secrets/secret-cache.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { FleetId, NodeId, SecretName } from '../../protocol/ids.ts'
import { WorkloadName } from '../../protocol/secret-policy.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const name = SecretName.parse('db/password')
const other = SecretName.parse('other')
const trainer = WorkloadName.parse('trainer')
const VALUE = 'canary-7be1'

const complaints: string[] = []
const log = createLog({ level: 'debug', write: (line) => complaints.push(line), now: () => 0 })

let directory: string
let now: number
const keys = { mine: new Uint8Array(32).fill(7), another: new Uint8Array(32).fill(8) }

beforeEach(() => {
  directory = temporaryDirectory()
  chmodSync(directory, 0o700)
  now = Date.parse('2026-11-24T12:00:00Z')
})

const open = ({ at = directory, key = keys.mine, fleet = 'a', node = 'n', maxAgeMs = DAY } = {}) =>
  new SecretCache({
    directory: at,
    fleet: FleetId.parse(fleet.repeat(26)),
    node: NodeId.parse(node.repeat(26)),
    maxAgeMs,
    sealing: () => SecretBytes.take(Uint8Array.from(key)),
    now: () => now,
  })

const received = (value = VALUE, version = 3) => ({
  value: SecretBytes.take(Uint8Array.from(Buffer.from(value))),
  version,
  class: 'managed' as const,
})

const keep = (cache = open()) => cache.keep([{ reference: { name }, received: received() }])
const entries = () => readdirSync(join(directory, 'secrets-cache')).filter((file) => file !== 'newest.json')
const entry = () => join(directory, 'secrets-cache', entries()[0] ?? '')
const miss = (error: string) => ({ ok: false, error })

/** The text of what is found, or why nothing is. */
function found(cache = open(), reference = { name } as { name: SecretName; version?: number }): string {
  const result = cache.find(reference)
  return result.ok ? Buffer.from(result.value.value.expose()).toString() : result.error
}

describe('the cache', () => {
  test('gives back what was kept, with its version and when it was fetched', () => {
    keep()
    const at = now
    now += DAY
    const result = open().find({ name })
    expect(result).toMatchObject({ ok: true, value: { version: 3, class: 'managed', at } })
    expect(found()).toBe(VALUE)
  })

  test('is private, and says nothing of the value', () => {
    const before = process.umask(0)
    keep()
    process.umask(before)
    expect(statSync(join(directory, 'secrets-cache')).mode & 0o777).toBe(0o700)
    for (const file of ['newest.json', ...entries()]) {
      const path = join(directory, 'secrets-cache', file)
      expect(statSync(path).mode & 0o777).toBe(0o600)
      expect(readFileSync(path, 'latin1')).not.toContain('canary')
    }
  })

  test('tells apart what was asked for, and for which workload', () => {
    const cache = open()
    cache.keep([{ reference: { name }, received: received('newest', 4) }])
    cache.keep([{ reference: { name, version: 3 }, received: received('third', 3) }])
    cache.keep([{ reference: { name }, received: received('of the trainer', 4) }], trainer)
    expect([found(), found(cache, { name, version: 3 }), found(cache, { name, version: 4 })]).toEqual([
      'newest',
      'third',
      'absent',
    ])
    const result = cache.find({ name }, trainer)
    expect(result.ok && Buffer.from(result.value.value.expose()).toString()).toBe('of the trainer')
    expect(cache.find({ name: other })).toEqual(miss('absent'))
  })

  test('keeps the last that was fetched', () => {
    keep()
    open().keep([{ reference: { name }, received: received('renewed', 5) }])
    expect(found()).toBe('renewed')
    expect(entries()).toHaveLength(1)
  })

  test('ends by age, and what has ended goes with the next that is kept', () => {
    keep()
    now += DAY + 1
    expect(found()).toBe('expired')
    open().keep([{ reference: { name: other }, received: received() }])
    expect(entries()).toHaveLength(1)
    expect(found()).toBe('absent')
  })
})

describe('a clock that was set back', () => {
  test('opens nothing', () => {
    keep()
    now -= HOUR
    expect(found()).toBe('clock set back')
  })

  test('gains no time: the newest time that was seen is kept', () => {
    keep()
    now += 20 * HOUR
    expect(found()).toBe(VALUE)
    now -= 20 * HOUR
    expect(found()).toBe('clock set back')
    now += 20 * HOUR
    expect(found()).toBe(VALUE)
    now += 4 * HOUR + 1
    expect(found()).toBe('expired')
  })

  test('by as little as the gateway tolerates is none', () => {
    keep()
    now -= 9 * 60_000
    expect(found()).toBe(VALUE)
  })

  test('cannot be hidden by taking that note away, by an older one, or by editing it', () => {
    keep()
    const note = join(directory, 'secrets-cache', 'newest.json')
    const older = readFileSync(note, 'utf8')
    rmSync(note)
    expect(found()).toBe('corrupt')
    writeFileSync(note, older.replace(/"at":\d+/, '"at":1'), { mode: 0o600 })
    expect(found()).toBe('corrupt')
    writeFileSync(note, older, { mode: 0o600 })
    expect(found()).toBe(VALUE)
  })

  test('is forgiven once the gateway has been asked again', () => {
    keep()
    now -= 2 * HOUR
    keep()
    expect(found()).toBe(VALUE)
  })
})

describe('does not open', () => {
  test.each([
    ['with another node’s key', { key: keys.another }],
    ['as another node', { node: 'm' }],
    ['in another fleet', { fleet: 'b' }],
  ])('%s', (_, changed) => {
    keep()
    expect(found(open(changed))).toBe('corrupt')
  })

  test('copied to another node, whole', () => {
    keep()
    const elsewhere = temporaryDirectory()
    chmodSync(elsewhere, 0o700)
    cpSync(join(directory, 'secrets-cache'), join(elsewhere, 'secrets-cache'), { recursive: true })
    expect(found(open({ at: elsewhere, key: keys.another, node: 'm' }))).toBe('corrupt')
  })

  test.each([
    ['of another node with the same key', { node: 'm' }],
    ['of another fleet with the same key', { fleet: 'b' }],
    ['with another key', { key: keys.another }],
  ])('among those %s', (_, changed) => {
    keep()
    const mine = readFileSync(entry())
    forgetCached(directory, log)
    open(changed).keep([{ reference: { name }, received: received('its own') }])
    expect(found(open(changed))).toBe('its own')
    writeFileSync(entry(), mine)
    expect(found(open(changed))).toBe('corrupt')
  })

  test('under the name of another workload', () => {
    const cache = open()
    keep(cache)
    const first = entry()
    cache.keep([{ reference: { name }, received: received('of the trainer') }], trainer)
    const second = entries()
      .map((file) => join(directory, 'secrets-cache', file))
      .find((path) => path !== first)
    renameSync(second ?? '', first)
    expect(found(cache)).toBe('corrupt')
  })

  test('under the name of another', () => {
    const cache = open()
    keep(cache)
    const first = entry()
    cache.keep([{ reference: { name: other }, received: received('of the other') }])
    const second = entries()
      .map((file) => join(directory, 'secrets-cache', file))
      .find((path) => path !== first)
    renameSync(first, second ?? '')
    expect(found(cache, { name: other })).toBe('corrupt')
  })

  test('with any field changed', () => {
    keep()
    const original = JSON.parse(readFileSync(entry(), 'utf8'))
    for (const change of [
      { name: other },
      { asked: 3 },
      { workload: 'trainer' },
      { version: 4 },
      { class: 'sealed' },
      { at: original.at + 1 },
      { box: '' },
      { more: 1 },
    ]) {
      writeFileSync(entry(), JSON.stringify({ ...original, ...change }))
      expect([change, found()]).toEqual([change, 'corrupt'])
    }
  })

  test('with any byte changed', () => {
    keep()
    const original = readFileSync(entry())
    const property = fc.property(
      fc.nat(original.length - 2),
      fc.integer({ min: 1, max: 255 }),
      (at, change) => {
        const changed = Buffer.from(original)
        changed[at] = (changed[at] ?? 0) ^ change
        writeFileSync(entry(), changed)
        expect(['corrupt', 'expired']).toContain(found())
      },
    )
    fc.assert(property, { numRuns: 300 })
  })
})

describe('forgetting', () => {
  test('takes away every entry of a name, and no other', () => {
    const cache = open()
    keep(cache)
    cache.keep([{ reference: { name, version: 3 }, received: received() }], trainer)
    cache.keep([{ reference: { name: other }, received: received('stays') }])
    forgetCached(directory, log, [name])
    expect(entries()).toHaveLength(1)
    expect(found(cache, { name: other })).toBe('stays')
  })

  test('takes away everything', () => {
    keep()
    forgetCached(directory, log)
    expect(readdirSync(directory)).toEqual([])
    forgetCached(directory, log)
    forgetCached(directory, log, [name])
    expect(complaints).toEqual([])
  })
})
