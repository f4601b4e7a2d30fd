/** Whether the trail says what happened, no more and no less: of each piece of work, and of the stored frames, by the entries alone. */
import type { AuditItem } from '../../../protocol/audit.ts'
import { MUTATION_TRIES } from '../../../protocol/limits.ts'
import type { History, Work } from './history.ts'
import { frameHash, storedNames, storedRow } from './stored.ts'
import type { World } from './world.ts'

/** @param first index of the sequence's first entry. @returns how many changes were begun in vain. */
export async function checkTrail(history: History, world: World, first: number): Promise<number> {
  const items = await world.entries(first)
  if (items.some(({ seq }, index) => seq !== first + index)) history.violate('the trail has gaps')
  const undone = undoneEntries(history, items)
  const byRequest = Map.groupBy(items, ({ requestId }) => requestId)
  for (const work of history.work) {
    const own = byRequest.get(work.id) ?? []
    if (work.change !== undefined) checkChange(history, work, own, undone)
    if (work.read !== undefined) checkRead(history, work, own)
  }
  await checkFrames(
    history,
    world,
    items.filter((item) => isChange(item) && !undone.has(item.seq)),
  )
  return items.filter(({ outcome, reason }) => outcome === 'failed' && reason === 'another change came first')
    .length
}

const isChange = ({ action, outcome }: AuditItem): boolean =>
  outcome === 'allowed' && action !== 'secret.read'

/** Entries that a later one calls failed. */
function undoneEntries(history: History, items: readonly AuditItem[]): ReadonlySet<number> {
  const changes = new Map(items.filter(isChange).map((item) => [item.seq, item]))
  const undone = new Set<number>()
  for (const { seq, action, target, outcome, requestId, detail } of items) {
    const of = detail?.['of']
    if (outcome !== 'failed' || typeof of !== 'number') continue
    const entry = changes.get(of)
    const matches = entry?.action === action && entry.target === target && entry.requestId === requestId
    if (!matches || of >= seq) history.violate(`entry ${seq} says that ${of} failed, which it does not fit`)
    if (undone.has(of)) history.violate(`entry ${of} is said twice to have failed`)
    undone.add(of)
  }
  return undone
}

function checkChange(
  history: History,
  work: Work,
  items: readonly AuditItem[],
  undone: ReadonlySet<number>,
): void {
  const { outcome, commits, faults } = work
  const begun = items.filter(isChange)
  const standing = begun.filter(({ seq }) => !undone.has(seq))
  if (standing.length !== commits.length)
    history.violate(`happened ${commits.length} times, of which the trail says ${standing.length}`, work)
  if (typeof outcome === 'string') return
  const overtaken = begun.length - standing.length
  if (faults.length === 0 && overtaken > changesBeside(history, work))
    history.violate('says that another change came first, and there was none', work)
  if (!('refused' in outcome)) return
  if (!items.some((item) => isRefusal(item, outcome.refused)))
    history.violate(`is refused without an entry that says ${outcome.refused}`, work)
  if (outcome.refused === 'E_SECRET_BUSY' && changesBeside(history, work) < MUTATION_TRIES)
    history.violate('is busy, and was not overtaken that often', work)
}

const isRefusal = ({ outcome, reason }: AuditItem, code: string): boolean =>
  outcome === 'denied' && (reason === code || reason.startsWith(`${code}:`) || reason.startsWith(`${code};`))

/** Changes by others, and sweeps, while it was under way. */
const changesBeside = (history: History, work: Work): number =>
  history.work.filter(
    (other) =>
      other !== work &&
      (other.commits.some((at) => at > work.start && at <= work.end) ||
        (other.kind === 'sweep' && other.start <= work.end && other.end >= work.start)),
  ).length

function checkRead(history: History, work: Work, items: readonly AuditItem[]): void {
  const { outcome } = work
  if (typeof outcome === 'string') return
  if ('refused' in outcome) {
    const failed = items.some(
      ({ outcome: how, reason }) => how === 'failed' && reason.includes(outcome.refused),
    )
    if (!failed && !items.some((item) => isRefusal(item, outcome.refused)))
      history.violate(`is refused without an entry that says ${outcome.refused}`, work)
    return
  }
  for (const { name, version } of outcome.done) {
    const recorded = items.some(
      ({ target, outcome: how, detail }) =>
        target === `secret:${name}` && how === 'allowed' && detail?.['version'] === version,
    )
    if (!recorded) history.violate(`has read ${name} version ${version} without an entry`, work)
  }
}

interface Folded {
  readonly sha256: string
  readonly entry: number
  readonly deleted: boolean
}

/** What is stored, by the entries that stand. */
function fold(items: readonly AuditItem[]): Map<string, Map<number, Folded>> {
  const secrets = new Map<string, Map<number, Folded>>()
  for (const { seq: entry, action, target, detail = {} } of items) {
    const versions = secrets.get(target) ?? new Map<number, Folded>()
    secrets.set(target, versions)
    const sha256 = String(detail['sha256'])
    const number = Number(detail['version'])
    const numbers = String(detail['versions'] ?? detail['drops'] ?? '')
      .split(',')
      .filter((text) => text !== '')
      .map(Number)
    if (action === 'secret.write') {
      versions.set(number, { sha256, entry, deleted: false })
      for (const dropped of numbers) versions.delete(dropped)
    } else if (action === 'secret.rewrap' || action === 'secret.reseal')
      versions.set(number, { deleted: versions.get(number)?.deleted ?? false, sha256, entry })
    else if (action === 'secret.destroy') for (const destroyed of numbers) versions.delete(destroyed)
    else if (action === 'secret.purge') versions.clear()
    else if (action === 'secret.delete' || action === 'secret.undelete')
      for (const ended of numbers) {
        const version = versions.get(ended)
        if (version !== undefined) versions.set(ended, { ...version, deleted: action === 'secret.delete' })
      }
  }
  return secrets
}

async function checkFrames(history: History, { db }: World, standing: readonly AuditItem[]): Promise<void> {
  const folded = fold(standing)
  const expected = [...folded].flatMap(([target, versions]) =>
    [...versions].map(
      ([version, { sha256, entry, deleted }]) => `${target} ${version} ${sha256} ${entry} ${deleted}`,
    ),
  )
  const stored: string[] = []
  for (const name of await storedNames(db)) {
    const versions = (await storedRow(db, name))?.versions ?? []
    for (const [version, { frame, sha256, entry, deleted }] of versions) {
      if (frame === undefined) continue
      const hash = frameHash(frame)
      if (hash !== sha256) history.violate(`${name} version ${version} is not what its row says`)
      stored.push(`secret:${name} ${version} ${hash} ${entry} ${deleted}`)
    }
  }
  const missing = expected.filter((one) => !stored.includes(one))
  const unknown = stored.filter((one) => !expected.includes(one))
  if (missing.length > 0) history.violate(`the trail has ${missing.join(', ')}, which the store has not`)
  if (unknown.length > 0) history.violate(`the store has ${unknown.join(', ')}, which the trail has not`)
}
