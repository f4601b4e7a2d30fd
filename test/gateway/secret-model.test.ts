import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Kind, sequence } from './secret-model/operations.ts'
import { onSqlite, Runner, underModelTime } from './secret-model/support.ts'
import { worldOfBindings } from './secret-model/world.ts'

underModelTime()

const MINUTES = 60_000

/** Each of these must have happened, or the sequences say little. */
const ENDS: Readonly<Partial<Record<Kind, readonly string[]>>> = {
  write: ['E_SECRET_CAS', 'E_SECRET_CAS_REQUIRED', 'E_SECRET_CLASS'],
  reseal: ['E_SECRET_CLASS', 'E_SECRET_NOT_FOUND', 'E_SECRET_DESTROYED'],
  rewrap: [],
  delete: ['E_SECRET_NOT_FOUND', 'E_SECRET_VERSION_NOT_FOUND', 'E_SECRET_DESTROYED'],
  undelete: ['E_SECRET_NOT_FOUND', 'E_SECRET_DESTROYED'],
  destroy: ['E_SECRET_NOT_FOUND', 'E_SECRET_VERSION_NOT_FOUND'],
  purge: ['E_SECRET_NOT_FOUND'],
  settings: ['E_SECRET_NOT_FOUND'],
  read: [
    'E_SECRET_NOT_FOUND',
    'E_SECRET_DENIED',
    'E_SECRET_DENY_RULE',
    'E_SECRET_POLICY_EXPIRED',
    'E_SECRET_VERSION_ENDED',
    'E_SECRET_DELETED',
    'E_SECRET_DESTROYED',
  ],
  sweep: [],
}

describe('secrets under random work, with writes that fail and isolates that are lost', () => {
  it(
    'are what a simple model says, and the trail says the same (10 000 sequences)',
    async () => {
      await onSqlite('model', async (world) => {
        const runner = new Runner(world)
        await fc.assert(
          fc.asyncProperty(sequence, async (one) => void (await runner.run(one))),
          { numRuns: 10_000 },
        )
        const { tally } = runner
        console.log(`secrets, at random: ${tally}`)
        for (const [kind, codes] of Object.entries(ENDS) as [Kind, readonly string[]][])
          for (const end of ['done', 'lost', 'failed', ...codes])
            expect(tally.count(kind, end), `${kind} ${end}`).toBeGreaterThan(0)
        expect(tally.conflicts).toBeGreaterThan(100)
        expect(tally.crashes).toBeGreaterThan(1_000)
      })
    },
    10 * MINUTES,
  )

  it(
    'are so on D1 and the audit object themselves (100 sequences)',
    async () => {
      const runner = new Runner(await worldOfBindings())
      await fc.assert(
        fc.asyncProperty(sequence, async (one) => void (await runner.run(one))),
        { numRuns: 100 },
      )
      console.log(`secrets, on D1: ${runner.tally}`)
      expect(runner.tally.commits).toBeGreaterThan(50)
    },
    5 * MINUTES,
  )
})
