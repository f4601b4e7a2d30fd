/**
 * IPv4 leases of the fleet (X17): never outside the range, and a released address only after its quarantine. Addresses that were never
 * used come first, which keeps a removed node's address unused for as long as the range allows.
 */
import type { Ipv4Range } from '../protocol/addresses.ts'
import type { NodeId } from '../protocol/ids.ts'
import { ADDRESS_QUARANTINE_MS } from '../protocol/limits.ts'
import type { Sql } from './sql.ts'

/** Undefined if every address is leased or resting. Call inside a transaction. */
export function leaseAddress(sql: Sql, range: Ipv4Range, node: NodeId, now: number): number | undefined {
  const highest = sql.first<{ ipv4: number | null }>(
    'SELECT MAX(ipv4) AS ipv4 FROM addresses WHERE ipv4 BETWEEN ? AND ?',
    range.first,
    range.last,
  )?.ipv4
  const fresh = highest === null || highest === undefined ? range.first : highest + 1
  if (fresh <= range.last) {
    sql.run('INSERT INTO addresses (ipv4, node_id) VALUES (?, ?)', fresh, node)
    return fresh
  }
  const rested = sql.first<{ ipv4: number }>(
    'SELECT ipv4 FROM addresses WHERE released_at <= ? AND ipv4 BETWEEN ? AND ? ORDER BY released_at LIMIT 1',
    now - ADDRESS_QUARANTINE_MS,
    range.first,
    range.last,
  )
  if (rested === undefined) return undefined
  sql.run('UPDATE addresses SET node_id = ?, released_at = NULL WHERE ipv4 = ?', node, rested.ipv4)
  return rested.ipv4
}

export function releaseAddress(sql: Sql, ipv4: number, now: number): void {
  sql.run('UPDATE addresses SET released_at = ? WHERE ipv4 = ?', now, ipv4)
}
