/** X17, X18: the addresses of a fleet, against a real SQLite and any order of joining and leaving. */
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseIpv4Range } from '../../protocol/addresses.ts'
import { ADDRESS_QUARANTINE_MS } from '../../protocol/limits.ts'
import { loadAddressPool, type PoolSql } from './gateway-modules.ts'

const { leaseAddress, releaseAddress } = await loadAddressPool()

function table(): PoolSql {
  const db = new DatabaseSync(':memory:')
  db.exec('CREATE TABLE addresses (ipv4 INTEGER PRIMARY KEY, node_id TEXT NOT NULL, released_at INTEGER)')
  return {
    first: (query, ...bindings) => db.prepare(query).get(...bindings),
    run: (query, ...bindings) => void db.prepare(query).run(...bindings),
  }
}

const rangeOf = (cidr: string) => parseIpv4Range(cidr) ?? expect.fail(cidr)

test('never leave the range, are never given to two, and are given again only after their rest', () => {
  const step = fc.oneof(
    fc.constant({ kind: 'join' as const }),
    fc.record({ kind: fc.constant('leave' as const), which: fc.nat() }),
    fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.integer({ min: 1, max: 2 * ADDRESS_QUARANTINE_MS }),
    }),
  )
  fc.assert(
    fc.property(
      fc.constantFrom('10.9.0.0/29', '10.9.0.0/28', '192.168.7.0/30'),
      fc.array(step, { maxLength: 80 }),
      (cidr, steps) => {
        const range = rangeOf(cidr)
        const sql = table()
        const held = new Map<number, string>()
        const restingUntil = new Map<number, number>()
        let now = 1_000_000
        for (const [index, action] of steps.entries()) {
          if (action.kind === 'wait') now += action.ms
          else if (action.kind === 'leave') {
            const address = [...held.keys()][action.which % Math.max(1, held.size)]
            if (address === undefined) continue
            releaseAddress(sql, address, now)
            held.delete(address)
            restingUntil.set(address, now + ADDRESS_QUARANTINE_MS)
          } else {
            const address = leaseAddress(sql, range, `node-${index}`, now)
            const size = range.last - range.first + 1
            const resting = [...restingUntil].filter(([, until]) => until > now).length
            if (address === undefined) {
              expect(held.size + resting).toBe(size)
              continue
            }
            expect(address).toBeGreaterThanOrEqual(range.first)
            expect(address).toBeLessThanOrEqual(range.last)
            expect(held.has(address)).toBe(false)
            expect(restingUntil.get(address) ?? 0).toBeLessThanOrEqual(now)
            restingUntil.delete(address)
            held.set(address, `node-${index}`)
          }
        }
      },
    ),
  )
})

test('reach beyond 254 and beyond 65 000: the ceiling is the range (X18)', () => {
  const sql = table()
  const range = rangeOf('10.100.0.0/16')
  const seen = new Set<number>()
  for (let i = 0; i < 2_000; i++) seen.add(leaseAddress(sql, range, `n${i}`, 0) ?? -1)
  expect(seen.size).toBe(2_000)
  expect(seen.has(-1)).toBe(false)
  sql.run('INSERT INTO addresses (ipv4, node_id) VALUES (?, ?)', range.last, 'last')
  expect(leaseAddress(sql, range, 'one-too-many', 0)).toBeUndefined()
})
