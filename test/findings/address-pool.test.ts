/** X17, X18: the addresses of a fleet, against a real SQLite and any order of joining and leaving. */
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseIpv4Range } from '../../protocol/addresses.ts'
import { ADDRESS_QUARANTINE_MS } from '../../protocol/limits.ts'
import { loadAddressPool, type PoolSql } from './gateway-modules.ts'

const { leaseAddress, moveAddress, releaseAddress, isAnyOutside } = await loadAddressPool()

function table(): PoolSql {
  const db = new DatabaseSync(':memory:')
  db.exec(
    `CREATE TABLE addresses
       (ipv4 INTEGER PRIMARY KEY, node_id TEXT NOT NULL, released_at INTEGER, named INTEGER NOT NULL DEFAULT 0)`,
  )
  return {
    first: (query, ...bindings) => db.prepare(query).get(...bindings),
    run: (query, ...bindings) => void db.prepare(query).run(...bindings),
  }
}

const rangeOf = (cidr: string) => parseIpv4Range(cidr) ?? expect.fail(cidr)

/** What an allocator must keep to, said as slowly as it can be: every address is looked at each time. */
class NaivePool {
  readonly held = new Map<number, string>()
  readonly released = new Map<number, { readonly by: string; readonly at: number }>()

  isFree(address: number, now: number, node?: string): boolean {
    if (this.held.has(address)) return this.held.get(address) === node
    const before = this.released.get(address)
    return before === undefined || before.by === node || before.at <= now - ADDRESS_QUARANTINE_MS
  }

  hold(address: number, node: string): void {
    this.held.set(address, node)
    this.released.delete(address)
  }

  release(address: number, now: number): void {
    this.released.set(address, { by: this.held.get(address) ?? '', at: now })
    this.held.delete(address)
  }
}

const STEP = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ kind: 'join' as const }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('leave' as const), which: fc.nat() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('move' as const),
      which: fc.nat(),
      to: fc.integer({ min: -2, max: 34 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.integer({ min: 1, max: 2 * ADDRESS_QUARANTINE_MS }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'grow' as const }) },
)

test('never leave the range, are never given to two, and are given again only after their rest', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(
        ['10.9.0.0/30', '10.9.0.0/29', '10.9.0.0/27'],
        ['10.9.0.16/30', '10.9.0.16/28', '10.9.0.0/27'],
        ['192.168.7.0/29'],
      ),
      fc.array(STEP, { maxLength: 100 }),
      (cidrs, steps) => {
        const sql = table()
        const model = new NaivePool()
        let size = 0
        let now = 1_000_000_000
        const chosen = <T>(list: readonly T[], which: number) => list[which % Math.max(1, list.length)]
        for (const [index, action] of steps.entries()) {
          const range = rangeOf(cidrs[size] ?? '')
          const all = Array.from({ length: range.last - range.first + 1 }, (_, n) => range.first + n)
          if (action.kind === 'wait') now += action.ms
          else if (action.kind === 'grow') size = Math.min(size + 1, cidrs.length - 1)
          else if (action.kind === 'join') {
            const node = `node-${index}`
            const free = all.filter((address) => model.isFree(address, now))
            const address = leaseAddress(sql, range, node, now)
            if (address === undefined) {
              expect(free).toEqual([])
              continue
            }
            expect(free).toContain(address)
            // One that has rested comes only when there is nothing fresh above what was drawn.
            if (model.released.has(address))
              expect(free.at(-1)).toSatisfy((last: number) => !isFresh(model, last))
            model.hold(address, node)
          } else {
            const [from, node] = chosen([...model.held], action.which) ?? []
            if (from === undefined || node === undefined) continue
            if (action.kind === 'leave') {
              releaseAddress(sql, from, now)
              model.release(from, now)
              continue
            }
            const to = range.first + action.to
            const refusal = moveAddress(sql, range, { node, from, to, now })
            const inside = to >= range.first && to <= range.last
            expect(refusal === undefined).toBe(inside && model.isFree(to, now, node))
            if (refusal !== undefined || to === from) continue
            model.release(from, now)
            model.hold(to, node)
          }
          for (const cidr of cidrs) {
            const { first, last } = rangeOf(cidr)
            const outside = [...model.held.keys()].some((address) => address < first || address > last)
            expect(isAnyOutside(sql, rangeOf(cidr))).toBe(outside)
          }
        }
      },
    ),
  )
})

const isFresh = ({ held, released }: NaivePool, address: number): boolean =>
  !held.has(address) && !released.has(address)

test('reach beyond 254 and beyond 65 000: the ceiling is the range (X18)', () => {
  const sql = table()
  const range = rangeOf('10.100.0.0/16')
  const seen = new Set<number>()
  for (let i = 0; i < 2_000; i++) seen.add(leaseAddress(sql, range, `n${i}`, 0) ?? -1)
  expect(seen.size).toBe(2_000)
  expect(seen.has(-1)).toBe(false)
  const gap = range.first + 40_000
  sql.run(
    `WITH RECURSIVE n (ipv4) AS (SELECT ? UNION ALL SELECT ipv4 + 1 FROM n WHERE ipv4 < ?)
     INSERT INTO addresses (ipv4, node_id) SELECT ipv4, 'many' FROM n WHERE ipv4 <> ?`,
    range.first + 2_000,
    range.last,
    gap,
  )
  expect(leaseAddress(sql, range, 'last', 0)).toBe(gap)
  expect(leaseAddress(sql, range, 'one-too-many', 0)).toBeUndefined()
})
