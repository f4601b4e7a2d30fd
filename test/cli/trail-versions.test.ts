/** What the trail says there must be, against a store: honest ones agree, and whatever is changed behind the trail's back is found. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { SecretVersionEntry } from '../../cli/admin-client.ts'
import { type TrailEntry, TrailVersions, VERSION_ACTIONS } from '../../cli/secrets/trail-versions.ts'
import { SecretName } from '../../protocol/ids.ts'

const AT = '2026-01-01T00:00:00.000Z'
const NOW = new Date('2026-06-01T00:00:00.000Z')

/** As the check sees them: only what changes versions. */
const judge = (entries: readonly TrailEntry[], start = 0): TrailVersions => {
  const read = entries.filter(({ seq, action }) => seq >= start && VERSION_ACTIONS.has(action))
  return new TrailVersions(read, { start, end: (entries.at(-1)?.seq ?? -1) + 1 })
}

/** An honest gateway, as far as the trail and the rows go. */
class Model {
  readonly entries: TrailEntry[] = []
  rows: SecretVersionEntry[] = []
  readonly #counted = new Map<string, number>()
  #hashes = 0

  #append(
    action: string,
    name: string,
    detail: TrailEntry['detail'],
    outcome: TrailEntry['outcome'] = 'allowed',
  ) {
    const seq = this.entries.length
    this.entries.push({ seq, at: AT, action, target: `secret:${name}`, outcome, detail })
    return seq
  }

  #hash = (): string => (++this.#hashes).toString(16).padStart(64, '0')

  write(name: string, keep: number, sealed: boolean): void {
    const version = (this.#counted.get(name) ?? 0) + 1
    this.#counted.set(name, version)
    const drops = this.rows.filter((row) => row.name === name && row.version <= version - keep)
    const sha256 = this.#hash()
    const entry = this.#append('secret.write', name, {
      version,
      sha256,
      class: sealed ? 'sealed' : 'managed',
      ...(!sealed && { key: 1 }),
      ...(drops.length > 0 && { drops: drops.map((row) => row.version).join(',') }),
    })
    this.rows = this.rows.filter((row) => !drops.includes(row))
    this.rows.push({
      name: SecretName.parse(name),
      version,
      state: 'live',
      createdAt: AT,
      expiresAt: null,
      readableUntil: null,
      entry,
      sha256,
      key: sealed ? null : 1,
      recipients: [],
    })
  }

  move(name: string, version: number): void {
    const row = this.rows.find((one) => one.name === name && one.version === version)
    if (row === undefined || row.state === 'destroyed') return
    row.sha256 = this.#hash()
    if (row.key !== null) row.key++
    const { sha256, key } = row
    row.entry = this.#append(key === null ? 'secret.reseal' : 'secret.rewrap', name, {
      version,
      sha256,
      ...(key !== null && { key }),
    })
  }

  change(what: 'delete' | 'undelete' | 'destroy', name: string, versions: readonly number[]): void {
    const rows = this.rows.filter((row) => row.name === name && versions.includes(row.version))
    if (rows.length === 0 || rows.some(({ state }) => state === 'destroyed')) return
    this.#append(`secret.${what}`, name, { versions: rows.map(({ version }) => version).join(',') })
    for (const row of rows)
      row.state = what === 'delete' ? 'deleted' : what === 'undelete' ? 'live' : 'destroyed'
  }

  purge(name: string): void {
    this.#append('secret.purge', name, {})
    this.rows = this.rows.filter((row) => row.name !== name)
  }

  /** Begun, and then it did not happen. */
  fail(name: string, version: number): void {
    const of = this.#append('secret.write', name, { version, sha256: this.#hash(), key: 1 })
    this.#append('secret.write', name, { of }, 'failed')
  }

  noise(name: string): void {
    this.#append('secret.read', name, { version: 1 })
    this.#append('secret.destroy', name, { versions: '1' }, 'denied')
    this.#append('secret.policy', name, {})
  }

  problems(rows: readonly SecretVersionEntry[] = this.rows) {
    return judge(this.entries).compare(rows, NOW)
  }
}

const name = fc.constantFrom('a', 'b/c', 'd')
const version = fc.integer({ min: 1, max: 6 })
const operation = fc.oneof(
  fc.tuple(fc.constant('write'), name, fc.integer({ min: 1, max: 4 })),
  fc.tuple(fc.constantFrom('move', 'delete', 'undelete', 'destroy', 'fail'), name, version),
  fc.tuple(fc.constantFrom('purge', 'noise'), name, fc.constant(0)),
)

function play(operations: readonly (readonly [string, string, number])[]): Model {
  const model = new Model()
  for (const [what, on, number] of operations) {
    if (what === 'write') model.write(on, number, on === 'd')
    else if (what === 'move') model.move(on, number)
    else if (what === 'purge') model.purge(on)
    else if (what === 'noise') model.noise(on)
    else if (what === 'fail') model.fail(on, number)
    else model.change(what as 'delete', on, [number, number + 1])
  }
  return model
}

test('an honest store has no problem', () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      expect(play(operations).problems()).toEqual([])
    }),
    { numRuns: 2000 },
  )
})

type Row = SecretVersionEntry
const other = 'f'.repeat(64)
/** What somebody might do to a store behind the trail's back; undefined where it changes nothing. */
const TAMPERING: Readonly<Record<string, (row: Row, model: Model) => Row[] | undefined>> = {
  'takes a version away': () => [],
  'exchanges its ciphertext': (row) => (row.state === 'destroyed' ? undefined : [{ ...row, sha256: other }]),
  'points it to another entry': (row) =>
    row.state === 'destroyed' || row.entry === 0 ? undefined : [{ ...row, entry: 0 }],
  'takes its entry away': (row) =>
    row.state === 'destroyed' ? undefined : [{ ...row, entry: null, sha256: null }],
  'names another key': (row) =>
    row.state === 'destroyed' ? undefined : [{ ...row, key: row.key === null ? 1 : null }],
  'adds a version': (row, { rows }) => {
    const next = Math.max(...rows.map((one) => one.version)) + 1
    return [row, { ...row, version: next }]
  },
  'adds one for a name of its own': (row) => [row, { ...row, name: SecretName.parse('forged') }],
  'destroys it': (row) => (row.state === 'destroyed' ? undefined : [{ ...row, state: 'destroyed' }]),
  'brings it back': (row) => (row.state === 'live' ? undefined : [{ ...row, state: 'live' }]),
  'deletes it': (row) => (row.state === 'live' ? [{ ...row, state: 'deleted' }] : undefined),
}

describe.each(Object.entries(TAMPERING))('whoever %s', (_what, tamper) => {
  test('is found, and by the version it was done to', () => {
    fc.assert(
      fc.property(fc.array(operation, { minLength: 4, maxLength: 40 }), fc.nat(), (operations, pick) => {
        const model = play(operations)
        fc.pre(model.rows.length > 0)
        const index = pick % model.rows.length
        const row = model.rows[index]
        const tampered = row && tamper(row, model)
        fc.pre(tampered !== undefined)
        const rows = model.rows.toSpliced(index, 1, ...(tampered ?? []))
        const found = model.problems(rows)
        expect(found.length).toBeGreaterThan(0)
        for (const problem of found) expect([row?.name, 'forged']).toContain(problem.name)
      }),
      { numRuns: 500 },
    )
  })
})

test('what was removed for good does not come back', () => {
  const model = play([
    ['write', 'a', 1],
    ['write', 'a', 1],
    ['write', 'b/c', 4],
  ])
  const [dropped] = play([['write', 'a', 4]]).rows
  if (dropped === undefined) throw new Error('nothing was written')
  expect(model.problems([...model.rows, dropped])).toMatchObject([
    { name: 'a', version: 1, message: 'was removed, and is there again' },
  ])
  const moved = { ...dropped, entry: 0, sha256: other, key: 2 }
  const rewrapped = { seq: 3, action: 'secret.rewrap', target: 'secret:a', outcome: 'allowed' as const }
  const forged = [...model.entries, { ...rewrapped, at: AT, detail: { version: 1, sha256: other, key: 2 } }]
  expect(judge(forged).compare([...model.rows, { ...moved, entry: 3 }], NOW)).toHaveLength(1)
  model.purge('b/c')
  const stale = play([
    ['noise', 'a', 0],
    ['write', 'b/c', 4],
  ]).rows
  expect(model.problems([...model.rows, ...stale])).toMatchObject([{ name: 'b/c', version: 1 }])
})

test('a version that ended by its own date is no problem, one that has not is', () => {
  const model = play([['write', 'a', 4]])
  const ended = (expiresAt: string | null): Row[] =>
    model.rows.map((row) => ({ ...row, state: 'deleted', expiresAt }))
  expect(model.problems(ended('2026-05-01T00:00:00Z'))).toEqual([])
  expect(model.problems(ended('2026-07-01T00:00:00Z'))).toHaveLength(1)
  expect(model.problems(ended(null))).toHaveLength(1)
})

test('what was written after the trail was read is judged by its own entry, and not by the number of one', () => {
  const model = play([['write', 'a', 4]])
  const row = { ...model.rows[0], name: SecretName.parse('later'), entry: 99 } as Row
  const entry: TrailEntry = {
    seq: 99,
    at: AT,
    action: 'secret.write',
    target: 'secret:later',
    outcome: 'allowed',
    detail: { version: row.version, sha256: row.sha256 ?? '', key: row.key ?? 0 },
  }
  const problems = (later: readonly TrailEntry[]) =>
    judge(model.entries).compare([...model.rows, row], NOW, new Map(later.map((one) => [one.seq, one])))
  expect(problems([entry])).toEqual([])
  expect(problems([])).toMatchObject([
    { name: 'later', message: 'stands for entry 99, which does not name it' },
  ])
  for (const other of [
    { action: 'secret.read' },
    { target: 'secret:a' },
    { outcome: 'denied' as const },
    { detail: { ...entry.detail, sha256: 'another' } },
    { detail: { ...entry.detail, version: row.version + 1 } },
    { detail: { ...entry.detail, key: 7 } },
  ])
    expect(problems([{ ...entry, ...other }])).toHaveLength(1)
})

test('of what was archived and cannot be read an honest store has no problem, and what came later is judged', () => {
  fc.assert(
    fc.property(fc.array(operation, { minLength: 1, maxLength: 60 }), fc.nat(), (operations, pick) => {
      const model = play(operations)
      const start = pick % (model.entries.length + 1)
      expect(judge(model.entries, start).compare(model.rows, NOW)).toEqual([])
      const row = model.rows.find(({ entry }) => (entry ?? 0) >= start)
      fc.pre(row !== undefined && row.state === 'live')
      const rows = model.rows.map((one) => (one === row ? { ...one, sha256: other } : one))
      expect(judge(model.entries, start).compare(rows, NOW)).toHaveLength(1)
    }),
    { numRuns: 1000 },
  )
})

test('a failure only takes back what it names', () => {
  const model = play([['write', 'a', 4]])
  const failed = (action: string, target: string, of: number): TrailEntry => ({
    seq: model.entries.length,
    at: AT,
    action,
    target,
    outcome: 'failed',
    detail: { of },
  })
  for (const entry of [failed('secret.write', 'secret:b', 0), failed('secret.policy', 'secret:a', 0)])
    expect(judge([...model.entries, entry]).compare(model.rows, NOW)).toEqual([])
  const named = failed('secret.write', 'secret:a', 0)
  expect(judge([...model.entries, named]).compare(model.rows, NOW)).toHaveLength(1)
})
