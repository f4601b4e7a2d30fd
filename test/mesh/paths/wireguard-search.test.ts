import { describe, expect, test } from 'vitest'
import { WireGuardSearch } from '../../../agent/mesh/paths/wireguard-search.ts'
import { Endpoint } from '../../../protocol/ids.ts'

describe('the search by WireGuard’s own means', () => {
  const [a, b, c] = ['198.18.0.1:1', '198.18.0.2:1', '198.18.0.3:1'].map((text) => Endpoint.parse(text))
  const candidates = [a, b, c].filter((endpoint) => endpoint !== undefined)

  /** What is set, looking every second. */
  function watch(search: WireGuardSearch, seconds: number, from = 0) {
    const set: [number, string][] = []
    for (let second = from; second < from + seconds; second++) {
      const next = search.next(second * 1000)
      if (next === undefined) continue
      set.push([second, next])
      search.tried(second * 1000)
    }
    return set
  }

  test('goes round for ever, with a pause after each round', () => {
    const search = new WireGuardSearch()
    search.offer(candidates)
    expect(watch(search, 60)).toEqual([
      [0, a],
      [6, b],
      [12, c],
      [42, a],
      [48, b],
      [54, c],
    ])
  })

  test('does not move on before a candidate is really set', () => {
    const search = new WireGuardSearch()
    search.offer(candidates)
    expect([search.next(0), search.next(60_000)]).toEqual([a, a])
  })

  test('begins anew with other candidates, and not with the same ones', () => {
    const search = new WireGuardSearch()
    search.offer(candidates)
    watch(search, 2)
    search.offer([...candidates])
    expect(search.next(2_000)).toBeUndefined()
    search.offer(candidates.toReversed())
    expect(search.next(2_000)).toBe(c)
  })

  test('goes on without a pause when the peer is heard of', () => {
    const search = new WireGuardSearch()
    search.offer(candidates)
    watch(search, 8)
    search.wake()
    expect(search.next(8_000)).toBeUndefined()
    watch(search, 8, 8)
    expect(search.next(20_000)).toBeUndefined()
    search.wake()
    expect(search.next(20_000)).toBe(a)
  })

  test('rests while there is a path, and begins with the first candidate when it is lost', () => {
    const search = new WireGuardSearch()
    search.offer(candidates)
    watch(search, 8)
    expect(search.isActive(8_000)).toBe(true)
    search.settle()
    expect(search.isActive(8_000)).toBe(false)
    expect(search.next(9_000)).toBe(a)
  })
})
