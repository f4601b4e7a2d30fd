import { describe, expect, it } from 'vitest'
import type { MeshReceipt } from '../../durable-objects/mesh-delivery.ts'
import { MeshFanout, type Move, type PublishToShard } from '../../durable-objects/mesh-fanout.ts'
import type { Listener, MeshLog } from '../../durable-objects/mesh-log.ts'
import { NodeId } from '../../protocol/ids.ts'

/** A log of which only the places of the classes matter, and how often it encodes. */
class FakeLog {
  readonly epoch = 'e'
  head = 0
  encoded = 0
  readonly places = new Map<number, number>()

  place(audience: number): number {
    return this.places.get(audience) ?? 0
  }

  concern(...audiences: number[]): void {
    this.head += 1
    for (const audience of audiences) this.places.set(audience, this.head)
  }

  from(_: Listener, audience: number) {
    this.encoded += 1
    return {
      position: { epoch: 'e', seq: this.place(audience) },
      audience,
      sees: null,
      frames: [],
      snapshot: false,
    }
  }
}

const NODE = NodeId.parse('a'.repeat(26))
const heard = (...listening: number[]): MeshReceipt => ({ listening, waiting: [] })

function fanoutOf(shards: string[], audiences: number[], publish: PublishToShard, settled: Move[] = []) {
  const log = new FakeLog()
  const fanout = new MeshFanout(log as unknown as MeshLog, shards, audiences, publish, (moves) =>
    settled.push(...moves),
  )
  return { log, fanout }
}

describe('the fan-out', () => {
  it('keeps a class where a node registered while the answer that nobody listens was on its way', async () => {
    const told: number[] = []
    const answers: ((receipt: MeshReceipt) => void)[] = []
    const { log, fanout } = fanoutOf(['shard'], [0], (_, { deltas }) => {
      told.push(...deltas.map(({ from }) => from))
      return new Promise((resolve) => answers.push(resolve))
    })
    log.concern(0)
    const first = fanout.changed({ urgent: true })
    fanout.listens('shard', 0)
    answers[0]?.(heard())
    await first
    log.concern(0)
    const second = fanout.changed({ urgent: true })
    answers[1]?.(heard(0))
    await second
    expect(told).toEqual([0, 1])
  })

  it('leaves a shard alone where nobody listens, and tells one that failed everything since', async () => {
    const told: string[] = []
    const { log, fanout } = fanoutOf(['empty', 'flaky'], [0], async (shard, { deltas }) => {
      told.push(`${shard} ${deltas.map(({ from }) => from)}`)
      if (shard === 'flaky' && told.length < 3) throw new Error('lost')
      return shard === 'empty' ? heard() : heard(0)
    })
    for (let round = 0; round < 2; round++) {
      log.concern(0)
      await fanout.changed({ urgent: true })
    }
    expect(told).toEqual(['empty 0', 'flaky 0', 'flaky 0'])
  })

  it('encodes once for each class that a change concerns, and calls no shard without such a class', async () => {
    const told: string[] = []
    const shards = ['s0', 's1', 's2', 's3']
    const { log, fanout } = fanoutOf(shards, [0, 1, 2], async (shard, { deltas }) => {
      told.push(...deltas.map(({ was }) => `${shard} ${was}`))
      return shard === 's3' ? heard(2) : heard(0, 1, 2)
    })
    log.concern(0, 1)
    await fanout.changed({ urgent: true })
    expect(log.encoded).toBe(2)
    expect(told).toHaveLength(8)
    told.length = 0
    log.concern(1)
    await fanout.changed({ urgent: true })
    expect(log.encoded).toBe(3)
    expect(told).toEqual(['s0 1', 's1 1', 's2 1'])
  })

  it('names a node of another class until its shard has confirmed it, and encodes its way there once', async () => {
    const settled: Move[] = []
    const answers: (() => MeshReceipt)[] = [
      () => {
        throw new Error('lost')
      },
      () => ({ listening: [0, 1], waiting: [NODE] }),
      () => heard(1, 0),
    ]
    const told: unknown[] = []
    const { fanout } = fanoutOf(
      ['shard'],
      [0, 1],
      async (_, publication) => {
        told.push([publication.moved, publication.deltas.map(({ was, update }) => [was, update.audience])])
        return answers.shift()?.() ?? heard(0, 1)
      },
      settled,
    )
    const move = { node: NODE, was: 0, now: 1 }
    fanout.moved('shard', move)
    for (let round = 0; round < 4; round++) await fanout.flush()
    expect(told).toEqual(Array.from({ length: 3 }, () => [[{ node: NODE, audience: 1 }], [[0, 1]]]))
    expect(settled).toEqual([move])
  })
})
