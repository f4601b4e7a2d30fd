/**
 * Each stored version of a secret has its entry in the trail, and each that was written and not removed is stored. The gateway goes on
 * while it is looked at: what does not agree is looked at again, with what the trail has got since.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { AuditItem } from '../../protocol/audit.ts'
import type { AdminClient, SecretVersionEntry } from '../admin-client.ts'
import type { AuditCrossCheck, ProvenLog } from '../audit/cross-check.ts'
import { isOfTheEntry } from './audit-proof.ts'
import { type TrailEntry, TrailVersions, VERSION_ACTIONS, type VersionProblem } from './trail-versions.ts'

const LOOKS = 3
/** A change takes some milliseconds from its entry to its end. */
const BETWEEN_LOOKS_MS = 500

type Stores = Pick<AdminClient, 'secretVersions' | 'auditFrom'>

export const secretVersionsCheck = (stores: Stores): AuditCrossCheck => ({
  name: 'secret versions',
  wants: (action) => VERSION_ACTIONS.has(action),
  async problems(entries, log) {
    const read: TrailEntry[] = [...entries]
    let end = log.size
    for (let look = 1; ; look++) {
      const stored = await stores.secretVersions()
      const later = await entriesOf(stored, end, log)
      const found = new TrailVersions(read, { start: log.start, end }).compare(stored, new Date(), later)
      if (found.length === 0 || look === LOOKS) return found.map(describe)
      await sleep(BETWEEN_LOOKS_MS)
      const since = await entriesSince(stores, end, log)
      read.push(...since.entries)
      end = since.end
    }
  },
})

/** Those that stored versions stand for. */
async function entriesOf(
  stored: readonly SecretVersionEntry[],
  end: number,
  log: ProvenLog,
): Promise<Map<number, TrailEntry>> {
  const indexes = stored.flatMap(({ entry }) => (entry !== null && entry >= end ? [entry] : []))
  const later = new Map<number, TrailEntry>()
  for (const index of indexes) {
    const entry = await provenEntry(log, index)
    if (entry !== undefined) later.set(index, entry)
  }
  return later
}

/** Which ones there are is the gateway's word; leaving one out only leaves its problem standing. */
async function entriesSince(
  stores: Stores,
  from: number,
  log: ProvenLog,
): Promise<{ readonly entries: readonly TrailEntry[]; readonly end: number }> {
  const entries: TrailEntry[] = []
  let end = from
  for (;;) {
    const { items, position = end } = await stores.auditFrom(end, { target: 'secret:' })
    for (const { seq } of items.filter(({ action }) => VERSION_ACTIONS.has(action))) {
      const entry = await provenEntry(log, seq)
      if (entry !== undefined) entries.push(entry)
    }
    if (position <= end) return { entries, end }
    end = position
  }
}

async function provenEntry(log: ProvenLog, index: number): Promise<AuditItem | undefined> {
  try {
    return await log.entry(index)
  } catch (error) {
    if (isOfTheEntry(error)) return undefined
    throw error
  }
}

const describe = ({ name, version, message }: VersionProblem): string =>
  `secret ${name}, version ${version}: ${message}`
