import { describe, expect, test, vi } from 'vitest'
import { KeyHandover } from '../../agent/mesh/key-handover.ts'
import type { NodeId } from '../../protocol/ids.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { newSeed, selfOf } from './mesh-node.ts'

const [one, two] = (await Promise.all([selfOf(newSeed(1)), selfOf(newSeed(2))])).map(
  ({ entry }) => entry,
) as [MeshPeer, MeshPeer]
const key = two.wg

function start({ isPatient = false } = {}) {
  const clock = new ManualClock()
  const events: string[] = []
  const gateway = { isThere: true }
  const names = (peers: readonly MeshPeer[]) => peers.map(({ name }) => name).join(' ')
  const handover = new KeyHandover({
    clock,
    reachable: async () => [one, two],
    say: (peers, content) => {
      if (content.kind === 'key') events.push(`${content.step}: ${names(peers)}`)
    },
    prepare: async (peers) => {
      events.push(`sealed: ${names(peers)}`)
      return () => void events.push(`told: ${names(peers)}`)
    },
    isConnected: () => gateway.isThere,
  })
  const end = handover.run(key, async () => void events.push('swap'), isPatient)
  const ready = (...ids: NodeId[]) => {
    for (const id of ids) handover.hear(id, 'ready', key)
  }
  const asked = (times: number) =>
    vi.waitFor(() => expect(events.filter((event) => event.startsWith('prepare'))).toHaveLength(times))
  return { clock, events, gateway, handover, end, ready, asked }
}

describe('a handover of keys', () => {
  test('is sealed before the swap, told right after it, and said again to those who have not moved', async () => {
    const { clock, events, handover, end, ready, asked } = start({ isPatient: true })
    await asked(1)
    ready(one.id, two.id)
    expect(await end).toBe('done')
    expect(events).toEqual(['prepare: node-1 node-2', 'sealed: node-1 node-2', 'swap', 'told: node-1 node-2'])
    handover.hear(one.id, 'moved', key)
    // Of another key: of a handover before this one.
    handover.hear(two.id, 'moved', one.wg)
    clock.advance(500)
    expect(events.at(-1)).toBe('swapped: node-2')
    handover.hear(two.id, 'moved', key)
    clock.advance(60_000)
    expect(events.filter((event) => event.startsWith('swapped: n'))).toHaveLength(1)
  })

  test('does not happen if the gateway goes away while peers are asked', async () => {
    const { clock, events, gateway, end, asked } = start()
    await asked(1)
    gateway.isThere = false
    clock.advance(1_000)
    expect(await end).toBe('no gateway')
    expect(events).not.toContain('swap')
  })

  test('asks again for an answer that is late, and for one that has grown old', async () => {
    const { clock, events, end, ready, asked } = start()
    await asked(1)
    ready(one.id)
    for (let second = 1; second <= 7; second++) {
      clock.advance(1_000)
      await asked(second + 1)
    }
    expect(events[1]).toBe('prepare: node-2')
    expect(events.at(-1)).toBe('prepare: node-1 node-2')
    ready(one.id, two.id)
    expect(await end).toBe('done')
  })

  test.each([
    [true, 'peers away'],
    [false, 'done'],
  ])('with a peer that never answers, patient %s: %s after a minute', async (isPatient, outcome) => {
    const { clock, events, end, ready, asked } = start({ isPatient })
    for (let second = 1; second <= 60; second++) {
      await asked(second)
      ready(one.id)
      clock.advance(1_000)
    }
    expect(await end).toBe(outcome)
    expect(events.includes('swap')).toBe(outcome === 'done')
  })
})
