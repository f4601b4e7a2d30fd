/** What both tests of the model need: its clock in place of the machine's, its keyrings, and its worlds. */
import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterAll, beforeAll, expect, vi } from 'vitest'
import { Keyring } from '../../../crypto/keyring.ts'
import { migrate } from '../support.ts'
import type { Choose } from './lanes.ts'
import type { Sequence } from './operations.ts'
import { type Clock, Run } from './run.ts'
import { Tally } from './tally.ts'
import { type World, worldOnSqlite } from './world.ts'

const clock: Clock = { now: Date.parse('2026-06-01T00:00:00Z') }

export function underModelTime(): void {
  beforeAll(async () => {
    await migrate()
    vi.spyOn(Date, 'now').mockImplementation(() => clock.now)
    // The store says so where an entry stays open, and is told here to leave many.
    vi.spyOn(console, 'error').mockImplementation(({ event }) => expect(event).toBe('settle_failed'))
  })
  afterAll(() => {
    vi.restoreAllMocks()
  })
}

function keyring(active: number): Keyring {
  const parsed = Keyring.parse(JSON.stringify({ ...JSON.parse(env.MASTER_KEYRING), active }))
  if (parsed === undefined) throw new Error('there is no such key')
  return parsed
}

/** In one Durable Object, whose database is all stores but the cache. */
export const onSqlite = (name: string, work: (world: World) => Promise<void>): Promise<void> =>
  runInDurableObject(env.AUDIT_LOG.getByName(name), (_, state) => work(worldOnSqlite(state)))

/** Runs sequences, and counts what they have been through. */
export class Runner {
  readonly tally = new Tally()
  readonly #world: World
  readonly #keyrings = [keyring(1), keyring(2)] as const

  constructor(world: World) {
    this.#world = world
  }

  /** @throws where something was not as it must be. */
  async run(sequence: Sequence, choose?: Choose): Promise<Run> {
    const run = new Run(this.#world, clock, this.#keyrings, sequence)
    const violations = await run.run(choose)
    expect(violations).toEqual([])
    this.tally.add(run)
    return run
  }
}
