import { describe, expect, test, vi } from 'vitest'
import { PathMtu } from '../../agent/mesh/path-mtu.ts'
import { Ipv4 } from '../../protocol/ids.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { nodeId } from './mesh-node.ts'

const ID = nodeId(2)
const KNOWN = new Set([ID])
const at = (endpoint: string) => [{ id: ID, ip4: Ipv4.parse('10.100.0.2'), endpoint }]

/** A path that carries so much; a peer that does not answer has none. */
function world(options: { carries: number; told?: number | undefined; lose?: number }) {
  const clock = new ManualClock()
  const state = { ...options, asked: 0, applied: [] as (number | undefined)[] }
  const mtu: PathMtu = new PathMtu({
    clock,
    known: async () => state.told,
    apply: async () => void state.applied.push(mtu.mtuOf(ID)),
    probe: {
      ask: async (_, sizes) => {
        state.asked++
        if (state.lose !== undefined && state.asked <= state.lose) return new Set<number>()
        // What its route does not let through whole arrives in pieces, and says nothing.
        return new Set(sizes.filter((size) => size <= state.carries))
      },
    },
  })
  const settled = (expected: number | undefined) =>
    vi.waitFor(() => {
      expect(state.applied.length).toBeGreaterThan(0)
      expect(mtu.mtuOf(ID)).toBe(expected)
    })
  return { clock, state, mtu, settled }
}

describe('the size of packets to a peer', () => {
  test.each([
    [1500, undefined],
    [1420, undefined],
    [1419, 1408],
    [1220, 1216],
    [1199, 1040],
    [500, 1040],
  ])('of a path that carries %i is %s', async (carries, expected) => {
    const { mtu, settled } = world({ carries })
    mtu.follow(at('a'), KNOWN)
    await settled(expected)
  })

  test('is not smaller for a question that was lost', async () => {
    const { mtu, settled, state } = world({ carries: 1500, lose: 2 })
    mtu.follow(at('a'), KNOWN)
    await settled(undefined)
    expect(state.asked).toBe(3)
  })

  test('is what the machine knows, where nobody answers, and never more', async () => {
    const silent = world({ carries: 0, told: 1328 })
    silent.mtu.follow(at('a'), KNOWN)
    await silent.settled(1328)
    const cut = world({ carries: 1500, told: 1328 })
    cut.mtu.follow(at('a'), KNOWN)
    await cut.settled(1328)
    const unknown = world({ carries: 0 })
    unknown.mtu.follow(at('a'), KNOWN)
    await unknown.settled(undefined)
  })

  test('is asked for anew at another endpoint, from the top, and otherwise now and then whether it still holds', async () => {
    const { mtu, settled, state, clock } = world({ carries: 1220 })
    mtu.follow(at('a'), KNOWN)
    await settled(1216)
    const { asked } = state
    mtu.follow(at('a'), KNOWN)
    expect(state.asked).toBe(asked)
    state.carries = 1500
    state.applied.length = 0
    await vi.waitFor(() => {
      mtu.follow(at('b'), KNOWN)
      expect(mtu.mtuOf(ID)).toBeUndefined()
    })
    // Once from the top, once as found.
    await vi.waitFor(() => expect(state.applied).toEqual([undefined, undefined]))
    state.carries = 1300
    clock.advance(5 * 60_000)
    await vi.waitFor(() => {
      mtu.follow(at('b'), KNOWN)
      expect(mtu.mtuOf(ID)).toBe(1280)
    })
    mtu.follow([], new Set())
    expect(mtu.mtuOf(ID)).toBeUndefined()
  })
})
