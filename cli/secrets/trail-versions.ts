/**
 * The versions of secrets that there must be by the audit trail, held against those that there are. Entries stand in the order in which the
 * changes of one secret happened; one whose change did not happen is named by a later entry that failed.
 */
import type { AuditItem } from '../../protocol/audit.ts'
import type { SecretVersionEntry } from '../admin-client.ts'

export type TrailEntry = Pick<AuditItem, 'seq' | 'at' | 'action' | 'target' | 'outcome' | 'detail'>

interface Expected {
  /** Index of the entry that names the ciphertext. */
  readonly entry: number
  readonly sha256: string
  /** Undefined for the sealed class. */
  readonly key: number | undefined
  /** Unknown where what came before its last ciphertext was archived. */
  readonly state: 'live' | 'deleted' | 'destroyed' | 'unknown'
}

interface ExpectedSecret {
  readonly versions: Map<number, Expected>
  /** Removed with their rows; their numbers are never used again. */
  readonly gone: Set<number>
  /** Index of the entry that changed it last. */
  changed: number
}

export interface VersionProblem {
  readonly name: string
  readonly version: number
  readonly message: string
  /** The entry it is about, or the last one of the secret. */
  readonly entry: number | undefined
}

/** What of the trail was read: from one index to before another. Only what was archived, and is in no archive at hand, is before it. */
export interface TrailPart {
  readonly start: number
  readonly end: number
}

/** What changes versions. */
export const VERSION_ACTIONS: ReadonlySet<string> = new Set([
  'secret.write',
  'secret.rewrap',
  'secret.reseal',
  'secret.delete',
  'secret.undelete',
  'secret.destroy',
  'secret.purge',
])

export class TrailVersions {
  readonly #secrets = new Map<string, ExpectedSecret>()
  readonly #failed: ReadonlyMap<number, string>
  readonly #part: TrailPart

  /** @param entries of VERSION_ACTIONS in that part of the trail, all of them. */
  constructor(entries: readonly TrailEntry[], part: TrailPart) {
    this.#part = part
    this.#failed = failedEntries(entries)
    for (const entry of entries) this.#fold(entry)
  }

  /**
   * @param now by which versions with an end of their own have ended.
   * @param later entries from the end of that part on that stored versions stand for, each of them proven: a number that the trail has not reached yet could
   * otherwise be given to any version, to have it passed over.
   */
  compare(
    stored: readonly SecretVersionEntry[],
    now: Date,
    later: ReadonlyMap<number, TrailEntry> = new Map(),
  ): VersionProblem[] {
    const problems: VersionProblem[] = []
    const seen = new Set<string>()
    for (const row of stored) {
      seen.add(`${row.name}:${row.version}`)
      const secret = this.#secrets.get(row.name)
      const message =
        row.entry !== null && row.entry >= this.#part.end
          ? laterProblemOf(row, later.get(row.entry))
          : problemOf(row, secret, this.#part, now)
      if (message !== undefined)
        problems.push({ name: row.name, version: row.version, message, entry: row.entry ?? secret?.changed })
    }
    for (const [name, { versions }] of this.#secrets) {
      for (const [version, { entry }] of versions) {
        if (!seen.has(`${name}:${version}`))
          problems.push({ name, version, message: 'was written, and is not there', entry })
      }
    }
    return problems
  }

  #fold({ seq, action, target, outcome, detail = {} }: TrailEntry): void {
    const name = /^secret:(.*)$/.exec(target)?.[1]
    if (name === undefined || outcome !== 'allowed' || this.#failed.get(seq) === `${action} ${target}`) return
    const secret = this.#secrets.get(name) ?? { versions: new Map(), gone: new Set(), changed: seq }
    if (!change(secret, seq, action, detail)) return
    secret.changed = seq
    this.#secrets.set(name, secret)
  }
}

/** By the index of the entry whose change did not happen: what that must have been. */
function failedEntries(entries: readonly TrailEntry[]): Map<number, string> {
  const failed = entries.flatMap(({ seq, action, target, outcome, detail }) => {
    const of = detail?.['of']
    return outcome === 'failed' && typeof of === 'number' && of < seq
      ? [[of, `${action} ${target}`] as const]
      : []
  })
  return new Map(failed)
}

/** @returns false if the entry changes no version. */
function change(
  { versions, gone }: ExpectedSecret,
  entry: number,
  action: string,
  detail: Readonly<Record<string, string | number>>,
): boolean {
  const remove = (version: number): void => {
    versions.delete(version)
    gone.add(version)
  }
  switch (action) {
    case 'secret.write':
    case 'secret.rewrap':
    case 'secret.reseal': {
      const { version, sha256, key, drops } = detail
      // From before the trail named versions and hashes.
      if (typeof version !== 'number' || typeof sha256 !== 'string') return false
      // Numbers are never used again.
      if (gone.has(version)) return false
      const state = action === 'secret.write' ? 'live' : (versions.get(version)?.state ?? 'unknown')
      versions.set(version, { entry, sha256, key: typeof key === 'number' ? key : undefined, state })
      for (const dropped of numbers(drops)) remove(dropped)
      return true
    }
    case 'secret.delete':
    case 'secret.undelete':
    case 'secret.destroy': {
      for (const version of numbers(detail['versions'])) {
        const before = versions.get(version)
        if (before !== undefined) versions.set(version, { ...before, state: AFTER[action] })
      }
      return true
    }
    case 'secret.purge':
      for (const version of [...versions.keys()]) remove(version)
      return true
    default:
      return false
  }
}

const AFTER = {
  'secret.delete': 'deleted',
  'secret.undelete': 'live',
  'secret.destroy': 'destroyed',
} as const

const numbers = (list: string | number | undefined): number[] =>
  list === undefined ? [] : String(list).split(',').map(Number)

/** What is wrong with a stored version; undefined if nothing is. */
function problemOf(
  row: SecretVersionEntry,
  secret: ExpectedSecret | undefined,
  { start }: TrailPart,
  now: Date,
): string | undefined {
  const expected = secret?.versions.get(row.version)
  if (expected === undefined) {
    if (secret?.gone.has(row.version)) return 'was removed, and is there again'
    return row.entry !== null && row.entry < start ? undefined : UNKNOWN(row.entry)
  }
  if (expected.state === 'destroyed')
    return row.state === 'destroyed' ? undefined : 'was destroyed, and is there again'
  if (row.state === 'destroyed') return 'is destroyed, and nobody destroyed it'
  if (row.entry !== expected.entry)
    return `stands for entry ${row.entry}, and its last one is ${expected.entry}`
  if (row.sha256 !== expected.sha256) return 'has another ciphertext than its entry names'
  if ((row.key ?? undefined) !== expected.key) return 'is under another master key than its entry names'
  if (expected.state === 'unknown') return undefined
  const ended = row.expiresAt !== null && new Date(row.expiresAt) <= now
  if (expected.state === 'deleted')
    return row.state === 'deleted' ? undefined : 'was deleted, and can be read again'
  if (row.state === 'deleted' && !ended) return 'is deleted, and nobody deleted it'
  return undefined
}

/** Of a version that was written since the trail was read. */
function laterProblemOf(row: SecretVersionEntry, entry: TrailEntry | undefined): string | undefined {
  const { action = '', target, outcome, detail = {} } = entry ?? {}
  const names =
    WRITING.includes(action) &&
    target === `secret:${row.name}` &&
    outcome === 'allowed' &&
    detail['version'] === row.version &&
    detail['sha256'] === row.sha256 &&
    detail['key'] === (row.key ?? undefined)
  return names ? undefined : `stands for entry ${row.entry}, which does not name it`
}

const WRITING: readonly string[] = ['secret.write', 'secret.rewrap', 'secret.reseal']

const UNKNOWN = (entry: number | null): string =>
  entry === null
    ? 'has no entry; if it is older than the trail of versions, `claw key rotate` gives it one'
    : 'has no entry'
