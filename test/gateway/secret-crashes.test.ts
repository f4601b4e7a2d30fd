import { describe, expect, it } from 'vitest'
import {
  ALL,
  BESIDE_READERS,
  does,
  inOrder,
  MEETINGS,
  meetingOf,
  read,
  SEQUENCES,
  sequenceOf,
} from './secret-model/cases.ts'
import type { Fault } from './secret-model/faults.ts'
import type { Lane } from './secret-model/lanes.ts'
import type { Sequence } from './secret-model/operations.ts'
import type { Choose } from './secret-model/run.ts'
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
        expect(writes).toBeGreaterThan(10)
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

it(
  'readers beside a change never see what was before it again, also where the trail restarts',
  async () => {
    await onSqlite('beside readers', async (world) => {
      const runner = new Runner(world)
      for (const sequence of BESIDE_READERS) await atEveryTurn(runner, sequence)
      console.log(`readers beside a change: ${runner.tally}`)
    })
  },
  MINUTES,
)

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
  meets('a refusal is true of one moment', 'managed', does('delete'), does('purge'))
  meets(
    'a version that ends while it is moved to another key fails no rotation',
    'managed',
    does('rewrap'),
    does('destroy'),
  )

  it('a read does not fail with the cache', async () => {
    const sequence = inOrder(does('write', { policy: ALL, large: true }), read(0), read(0))
    await onSqlite('cache', async (world) => {
      const runner = new Runner(world)
      const { writes } = (await runner.run(sequence)).faults
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
  return ([first, next]) => {
    if (other !== undefined && !other.ended) return other
    other = other === undefined ? next : undefined
    return other ?? first
  }
}

/** The first goes some turns, then each of the others all of its own. */
async function atEveryTurn(runner: Runner, sequence: Sequence): Promise<void> {
  for (let turns = 0; ; turns++) {
    let left = turns
    const choose: Choose = ([first, second]) => {
      if (second === undefined) return first
      return left-- > 0 ? first : second
    }
    await runner.run(sequence, choose)
    // It was at its end before it had gone so many.
    if (left >= 0) return
  }
}
