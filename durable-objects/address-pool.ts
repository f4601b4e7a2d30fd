/**
 * Which IPv4 address a node gets (X17, X18): never one outside the range, and one that was released only after its quarantine. Addresses that
 * were never used come first, which keeps a removed node's address unused for as long as the range allows. Pure: who keeps the leases answers
 * questions about them.
 */
import type { Ipv4Range } from '../protocol/addresses.ts'
import type { NodeId } from '../protocol/ids.ts'
import { ADDRESS_QUARANTINE_MS } from '../protocol/limits.ts'

interface Lease {
  readonly node: NodeId
  /** Null while it is held. */
  readonly releasedAt: number | null
}

/** Each question costs a few rows, except the last, which is for a range that is all but full. */
export interface Leases {
  at(address: number): Lease | undefined
  /** Of those that nobody has asked for by name: below it there are no fresh ones, unless the range has grown downwards. */
  highestDrawn(range: Ipv4Range): number | undefined
  /** The one that was released first, at that time or before. */
  longestReleased(range: Ipv4Range, until: number): number | undefined
  lowestFresh(range: Ipv4Range): number | undefined
}

/** Undefined if every address is leased or resting. */
export function drawAddress(leases: Leases, range: Ipv4Range, now: number): number | undefined {
  let fresh = (leases.highestDrawn(range) ?? range.first - 1) + 1
  while (fresh <= range.last && leases.at(fresh) !== undefined) fresh++
  if (fresh <= range.last) return fresh
  return leases.longestReleased(range, now - ADDRESS_QUARANTINE_MS) ?? leases.lowestFresh(range)
}

/** Why a node cannot have the address it is meant to have; undefined if it can. Its own of before it may have back at once. */
export function objection(
  leases: Leases,
  range: Ipv4Range,
  { address, node, now }: { readonly address: number; readonly node: NodeId; readonly now: number },
): 'outside' | 'taken' | 'resting' | undefined {
  if (address < range.first || address > range.last) return 'outside'
  const lease = leases.at(address)
  if (lease === undefined || lease.node === node) return undefined
  if (lease.releasedAt === null) return 'taken'
  return lease.releasedAt > now - ADDRESS_QUARANTINE_MS ? 'resting' : undefined
}
