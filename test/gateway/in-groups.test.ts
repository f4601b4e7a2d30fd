import { describe, expect, it } from 'vitest'
import { InGroups } from '../../durable-objects/in-groups.ts'

/** Calls that end when they are told to. */
function controlled(most: number) {
  const calls: { readonly items: readonly string[]; readonly end: PromiseWithResolvers<void> }[] = []
  const groups = new InGroups<string, string>(most, async (items) => {
    const end = Promise.withResolvers<void>()
    calls.push({ items, end })
    await end.promise
    return items.map((item) => item.toUpperCase())
  })
  return { calls, groups, groupsSoFar: () => calls.map(({ items }) => items.join('')) }
}

describe('calls in groups', () => {
  it('go at once alone, and together while one is under way, which none joins', async () => {
    const { calls, groups, groupsSoFar } = controlled(10)
    const results = ['a', 'b', 'c'].map((item) => groups.add(item))
    expect(groupsSoFar()).toEqual(['a'])
    calls[0]?.end.resolve()
    expect(await results[0]).toBe('A')
    expect(groupsSoFar()).toEqual(['a', 'bc'])
    const late = groups.add('d')
    expect(groupsSoFar()).toEqual(['a', 'bc'])
    calls[1]?.end.resolve()
    expect(await Promise.all(results)).toEqual(['A', 'B', 'C'])
    calls[2]?.end.resolve()
    expect(await late).toBe('D')
    const again = groups.add('e')
    expect(groupsSoFar()).toEqual(['a', 'bc', 'd', 'e'])
    calls[3]?.end.resolve()
    expect(await again).toBe('E')
  })

  it('fail together, and the next ones do not', async () => {
    const { calls, groups } = controlled(2)
    const results = ['a', 'b', 'c', 'd'].map((item) => groups.add(item))
    const settled = Promise.allSettled(results)
    calls[0]?.end.resolve()
    await results[0]
    calls[1]?.end.reject(new Error('away'))
    await results[1]?.catch(() => undefined)
    calls[2]?.end.resolve()
    expect((await settled).map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'rejected',
      'fulfilled',
    ])
    expect(calls.map(({ items }) => items.join(''))).toEqual(['a', 'bc', 'd'])
  })
})
