/** Reading stored entries: by index, by bundle, and by what they say. */
import { encodeBundle, TILE_WIDTH } from '../crypto/merkle-tiles.ts'
import type { AuditFilter, AuditItem } from '../protocol/audit.ts'
import { type AuditEntry, decodeEntry, itemOf, passesFilter } from '../protocol/audit-entry.ts'
import { AUDIT_CLOCK_SLACK_MS, AUDIT_SCAN } from '../protocol/limits.ts'
import type { Sql } from './sql.ts'

interface EntryRow extends Record<string, number | ArrayBuffer> {
  entry: number
  bytes: ArrayBuffer
}

/** Where a listing begins, and which way it goes. */
export interface AuditPage {
  readonly from: number
  readonly order: 'newest' | 'oldest'
  readonly limit: number
}

export interface FoundEntries {
  readonly items: AuditItem[]
  /** Where to go on; undefined at the end of the log. */
  readonly next: number | undefined
}

const SCANNED_AT_ONCE = 250

export const entryBytes = (sql: Sql, index: number): Uint8Array | undefined => {
  const row = sql.first<EntryRow>('SELECT entry, bytes FROM entries WHERE entry = ?', index)
  return row && new Uint8Array(row.bytes)
}

/** Undefined unless all of them are there. */
export function entryBundle(sql: Sql, n: number, width: number): Uint8Array | undefined {
  const first = n * TILE_WIDTH
  const rows = sql.all<EntryRow>(
    'SELECT entry, bytes FROM entries WHERE entry >= ? AND entry < ? ORDER BY entry',
    first,
    first + width,
  )
  return rows.length === width ? encodeBundle(rows.map(({ bytes }) => new Uint8Array(bytes))) : undefined
}

export function storedEntry(index: number, bytes: Uint8Array): AuditEntry {
  const entry = decodeEntry(bytes)
  if (entry === undefined) throw new Error(`entry ${index} of the audit trail is not in its form`)
  return entry
}

/**
 * Those that pass the filter, as far as one page looks: `next` goes on also where nothing was found. Times are only nearly in order, since
 * clocks can be set back; a search by time looks a day further.
 */
export function findEntries(sql: Sql, filter: AuditFilter, page: AuditPage, size: number): FoundEntries {
  const forward = page.order === 'oldest'
  const items: AuditItem[] = []
  let at = forward ? page.from : Math.min(page.from, lastByTime(sql, filter.until, size))
  for (let scanned = 0; scanned < AUDIT_SCAN; ) {
    const rows = sql.all<EntryRow>(
      forward
        ? 'SELECT entry, bytes FROM entries WHERE entry >= ? ORDER BY entry LIMIT ?'
        : 'SELECT entry, bytes FROM entries WHERE entry <= ? ORDER BY entry DESC LIMIT ?',
      at,
      Math.min(SCANNED_AT_ONCE, filterless(filter) ? page.limit - items.length : SCANNED_AT_ONCE),
    )
    for (const { entry: index, bytes } of rows) {
      const entry = storedEntry(index, new Uint8Array(bytes))
      at = forward ? index + 1 : index - 1
      if (!forward && filter.since !== undefined && entry.at < filter.since - AUDIT_CLOCK_SLACK_MS)
        return { items, next: undefined }
      if (!passesFilter(entry, filter)) continue
      items.push(itemOf(index, entry))
      if (items.length === page.limit) return { items, next: goesOn(at, size) }
    }
    if (rows.length === 0) return { items, next: undefined }
    scanned += rows.length
  }
  return { items, next: goesOn(at, size) }
}

const goesOn = (at: number, size: number): number | undefined => (at >= 0 && at < size ? at : undefined)

const filterless = (filter: AuditFilter): boolean =>
  Object.values(filter).every((value) => value === undefined)

/** An index behind which every entry is younger, found by halves. */
function lastByTime(sql: Sql, until: number | undefined, size: number): number {
  if (until === undefined) return size - 1
  let [low, high] = [0, size]
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const bytes = entryBytes(sql, middle)
    // An archived one is old enough.
    const isYounger = bytes !== undefined && storedEntry(middle, bytes).at > until + AUDIT_CLOCK_SLACK_MS
    if (isYounger) high = middle
    else low = middle + 1
  }
  return low - 1
}
