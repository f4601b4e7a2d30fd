import { describe, expect, it } from 'vitest'
import {
  ALL,
  CHANGES,
  does,
  inOrder,
  MEETINGS,
  meetingOf,
  NOBODY,
  read,
  SEQUENCES,
  sequenceOf,
} from './secret-model/cases.ts'
import type { Fault } from './secret-model/faults.ts'
import { type Choose, inStretches, isOpen, type Lane, type Stretch } from './secret-model/lanes.ts'
import type { Operation, Sequence } from './secret-model/operations.ts'
import { onSqlite, Runner, underModelTime } from './secret-model/support.ts'

underModelTime()

const MINUTES = 60_000

const failures = (at: number): readonly Fault[] =>
  (['before', 'after', 'late'] as const).flatMap((how) => [
    { at, how, crash: false },
    { at, how, crash: true },
  ])

describe('a crash at every single write', () => {
  it.each(Object.entries(SEQUENCES))(
    'of %s leaves data and trail in agreement',
    async (title, sequence) => {
      await onSqlite(`crashes: ${title}`, async (world) => {
        const runner = new Runner(world)
        const { writes } = (await runner.run(sequence)).faults
        expect(writes).toBeGreaterThanOrEqual(10)
        for (let at = 0; at < writes; at++)
          for (const fault of failures(at)) await runner.run({ ...sequence, faults: [fault] })
        expect(runner.tally.faults).toBeGreaterThanOrEqual(writes * 6)
        console.log(`${title}: ${runner.tally}`)
      })
    },
    5 * MINUTES,
  )
})

describe('two that meet', () => {
  it(
    'end as if one had come after the other, wherever the first is when the second comes',
    async () => {
      await onSqlite('meetings', async (world) => {
        const runner = new Runner(world)
        for (const sequence of MEETINGS) await atEveryTurn(runner, sequence)
        console.log(`two that meet: ${runner.tally}`)
        expect(runner.tally.conflicts).toBeGreaterThan(200)
      })
    },
    5 * MINUTES,
  )
})

/** An isolate believes what it knows once it has read it twice; the last of these then asks it. */
const READERS = [read(1), read(1), read(1)]
const TO_ITS_END = Infinity

describe('readers beside a change', () => {
  it.each<[string, readonly Operation[]]>([
    ['never see again what was before it', READERS],
    ['nor where the trail restarts meanwhile', [{ kind: 'restart trail' }, ...READERS]],
  ])('%s', async (title, others) => {
    await onSqlite(title, async (world) => {
      const runner = new Runner(world)
      for (const change of CHANGES)
        await atEveryTurn(runner, meetingOf('managed', change, ...others), (turns) => [
          [0, turns],
          ...others.slice(1).map((_, index): Stretch => [index + 1, TO_ITS_END]),
          [0, 2],
          [others.length, TO_ITS_END],
          [0, TO_ITS_END],
        ])
      console.log(`readers beside a change: ${runner.tally}`)
    })
  })

  it('nor where two are open at once', async () => {
    const changes = [does('settings', { policy: NOBODY }), does('write', { policy: ALL })]
    const sequence = meetingOf('managed', ...changes, ...READERS)
    await onSqlite('two open', async (world) => {
      const runner = new Runner(world)
      for (let second = 1; second < TURNS; second++)
        await atEveryTurn(runner, sequence, (first) => [
          [0, first],
          [1, second],
          [0, TO_ITS_END],
          [2, TO_ITS_END],
          [3, TO_ITS_END],
          [1, 2],
          [4, TO_ITS_END],
          [1, TO_ITS_END],
        ])
      expect(runner.tally.sequences).toBeGreaterThan(100)
    })
  })
})

describe('what the model has found', () => {
  const meets = (title: string, ...pair: Parameters<typeof meetingOf>) =>
    it(title, () => onSqlite(title, (world) => atEveryTurn(new Runner(world), meetingOf(...pair))))

  meets('a large value is read while it is put under another key', 'managed', read(1), does('rewrap'))
  meets('a large value is read while it is sealed anew', 'sealed', read(1), does('reseal'))
  meets(
    'a write that happened is not refused because of what came after it',
    'managed',
    does('write'),
    does('purge'),
  )
  it('the newest of a large value is replaced while it is read, and is the only one that is kept', () =>
    onSqlite('only one', async (world) => {
      const runner = new Runner(world)
      const large = { policy: ALL, large: true }
      const together = [read(0), does('write', large)]
      const sequence = sequenceOf([
        [does('write', large)],
        [does('settings', { maxVersions: 1 })],
        together,
        [read(1)],
      ])
      await atEveryTurn(runner, sequence)
      expect(runner.tally.count('read', 'E_SECRET_DESTROYED')).toBe(0)
    }))
  meets('a refusal is true of one moment', 'managed', does('delete'), does('purge'))
  meets(
    'a version that ends while it is moved to another key fails no rotation',
    'managed',
    does('rewrap'),
    does('destroy'),
  )

  it('a read does not fail with the cache, nor believe it', async () => {
    const sequence = inOrder(does('write', { policy: ALL, large: true }), read(0), read(0))
    await onSqlite('cache', async (world) => {
      const runner = new Runner(world)
      const { writes } = (await runner.run({ ...sequence, cache: 'bad' })).faults
      for (let at = 0; at < writes; at++) {
        const faults = [{ at, how: 'before', crash: false } as const]
        const { work } = (await runner.run({ ...sequence, faults })).history
        for (const { faults: met, outcome } of work)
          if (met.includes('kv')) expect(outcome).not.toBe('failed')
      }
    })
  })

  it('a change that is overtaken again and again is refused, and the trail says so', async () => {
    const others = Array.from({ length: 45 }, () => does('settings', { isolate: 1, rule: 0 }))
    const sequence = sequenceOf([[does('write', { policy: ALL })], [does('write'), ...others]])
    await onSqlite('busy', async (world) => {
      const { history } = await new Runner(world).run(sequence, oneBetween())
      const [, write] = history.work.filter(({ kind }) => kind === 'write')
      expect(write?.outcome).toMatchObject({ refused: 'E_SECRET_BUSY' })
    })
  })
})

/** After each turn of the first, another from its beginning to its end. */
function oneBetween(): Choose {
  let other: Lane | undefined
  return ([first, ...others]) => {
    if (other?.ended === false) return other
    other = other === undefined ? others.find(isOpen) : undefined
    return other ?? (first?.ended === false ? first : undefined)
  }
}

/** More than a change takes that nobody overtakes. */
const TURNS = 16

/** For each number of turns that the first can go before the others come. */
async function atEveryTurn(
  runner: Runner,
  sequence: Sequence,
  stretches: (turns: number) => readonly Stretch[] = (turns) => [
    [0, turns],
    [1, TO_ITS_END],
    [0, TO_ITS_END],
  ],
): Promise<void> {
  for (let turns = 0; ; turns++) {
    const { choose, left } = inStretches(stretches(turns))
    await runner.run(sequence, choose)
    // It was at its end before it had gone so many.
    if (left(0) > 0) return
  }
}
