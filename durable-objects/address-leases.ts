/** The leases of IPv4 addresses in the Fleet's SQLite. Which one a node gets is the pool's to say (address-pool.ts). */
import type { Ipv4Range } from '../protocol/addresses.ts'
import type { NodeId } from '../protocol/ids.ts'
import { drawAddress, type Leases, objection } from './address-pool.ts'
import type { Sql } from './sql.ts'

/** Undefined if every address is leased or resting. Call inside a transaction. */
export function leaseAddress(sql: Sql, range: Ipv4Range, node: NodeId, now: number): number | undefined {
  const address = drawAddress(leasesIn(sql), range, now)
  if (address !== undefined) write(sql, address, node, { named: false })
  return address
}

/** Gives the node that address instead of the one it has. Call inside a transaction. @returns why not, and nothing is changed then. */
export function moveAddress(
  sql: Sql,
  range: Ipv4Range,
  move: { readonly node: NodeId; readonly from: number; readonly to: number; readonly now: number },
): ReturnType<typeof objection> {
  const problem = objection(leasesIn(sql), range, { address: move.to, node: move.node, now: move.now })
  if (problem !== undefined || move.from === move.to) return problem
  releaseAddress(sql, move.from, move.now)
  write(sql, move.to, move.node, { named: true })
  return undefined
}

export function releaseAddress(sql: Sql, ipv4: number, now: number): void {
  sql.run('UPDATE addresses SET released_at = ? WHERE ipv4 = ?', now, ipv4)
}

/** Whether a node has an address that is not in the range, because the range was narrowed. */
export const isAnyOutside = (sql: Sql, { first, last }: Ipv4Range): boolean =>
  sql.first(
    `SELECT 1 AS one FROM addresses WHERE released_at IS NULL AND ipv4 < ?
     UNION ALL SELECT 1 FROM addresses WHERE released_at IS NULL AND ipv4 > ? LIMIT 1`,
    first,
    last,
  ) !== undefined

/** One that was once asked for by name stays so: it says nothing of how far the others have come. */
function write(sql: Sql, address: number, node: NodeId, { named }: { readonly named: boolean }): void {
  sql.run(
    `INSERT INTO addresses (ipv4, node_id, named) VALUES (?, ?, ?)
     ON CONFLICT (ipv4) DO UPDATE SET node_id = excluded.node_id, released_at = NULL`,
    address,
    node,
    named ? 1 : 0,
  )
}

function leasesIn(sql: Sql): Leases {
  const one = (query: string, ...bindings: number[]): number | undefined =>
    sql.first<{ ipv4: number }>(query, ...bindings)?.ipv4
  return {
    at(address) {
      const row = sql.first<{ node_id: NodeId; released_at: number | null }>(
        'SELECT node_id, released_at FROM addresses WHERE ipv4 = ?',
        address,
      )
      return row && { node: row.node_id, releasedAt: row.released_at }
    },
    highestDrawn: ({ first, last }) =>
      one(
        'SELECT ipv4 FROM addresses WHERE named = 0 AND ipv4 BETWEEN ? AND ? ORDER BY ipv4 DESC LIMIT 1',
        first,
        last,
      ),
    longestReleased: ({ first, last }, until) =>
      one(
        'SELECT ipv4 FROM addresses WHERE released_at <= ? AND ipv4 BETWEEN ? AND ? ORDER BY released_at, ipv4 LIMIT 1',
        until,
        first,
        last,
      ),
    lowestFresh({ first, last }) {
      if (one('SELECT ipv4 FROM addresses WHERE ipv4 = ?', first) === undefined) return first
      return one(
        `SELECT a.ipv4 + 1 AS ipv4 FROM addresses a
         WHERE a.ipv4 >= ? AND a.ipv4 < ? AND NOT EXISTS (SELECT 1 FROM addresses b WHERE b.ipv4 = a.ipv4 + 1)
         ORDER BY a.ipv4 LIMIT 1`,
        first,
        last,
      )
    },
  }
}
