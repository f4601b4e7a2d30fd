import { describe, expect, it } from 'vitest'
import { MeshFanout } from '../../durable-objects/mesh-fanout.ts'
import type { MeshLog } from '../../durable-objects/mesh-log.ts'

/** A log of which only the place matters. */
const fakeLog = () => {
  const position = { epoch: 'e', seq: 0 }
  return { position, since: () => ({ position, frames: [], snapshot: false }) } as unknown as MeshLog & {
    position: { epoch: string; seq: number }
  }
}

describe('the fan-out', () => {
  it('keeps a shard where a node registered while the answer that nobody listens was on its way', async () => {
    const log = fakeLog()
    const told: number[] = []
    const answers: ((listens: boolean) => void)[] = []
    const fanout = new MeshFanout(log, ['shard'], (_, from) => {
      told.push(from.seq)
      return new Promise((resolve) => answers.push(resolve))
    })
    log.position.seq = 1
    const first = fanout.changed({ urgent: true })
    fanout.listens('shard')
    answers[0]?.(false)
    await first
    log.position.seq = 2
    const second = fanout.changed({ urgent: true })
    answers[1]?.(true)
    await second
    expect(told).toEqual([0, 1])
  })

  it('leaves a shard alone where nobody listens, and tells one that failed everything since', async () => {
    const log = fakeLog()
    const told: string[] = []
    const fanout = new MeshFanout(log, ['empty', 'flaky'], async (shard, from) => {
      told.push(`${shard} ${from.seq}`)
      if (shard === 'flaky' && told.length < 3) throw new Error('lost')
      return shard !== 'empty'
    })
    for (const seq of [1, 2]) {
      log.position.seq = seq
      await fanout.changed({ urgent: true })
    }
    expect(told).toEqual(['empty 0', 'flaky 0', 'flaky 0'])
  })
})
