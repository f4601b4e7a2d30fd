/** Each node's keys are those that its entry in the trail says, and that entry is the last one of the node: no key was exchanged behind it. */
import type { AuditItem } from '../../protocol/audit.ts'
import type { NodeItem } from '../../protocol/http.ts'
import { NODE_KEY_ACTIONS, saysKeys } from '../../protocol/node-key-entry.ts'
import type { AuditCrossCheck, ProvenLog } from './cross-check.ts'

export const nodeKeysCheck = (nodes: () => Promise<readonly NodeItem[]>): AuditCrossCheck => ({
  name: 'node keys',
  wants: (action) => NODE_KEY_ACTIONS.has(action),
  async problems(entries, log) {
    const said = {
      newest: newestByTarget(entries),
      byIndex: new Map(entries.map((entry) => [entry.seq, entry])),
    }
    const problems: string[] = []
    for (const node of await nodes()) {
      const wrong = await problemOf(node, said, log)
      if (wrong !== undefined) problems.push(`node ${node.name} (${node.id}): ${wrong}`)
    }
    return problems
  },
})

/** Enrolling again says the same keys once more and changes nothing; what failed says none. */
function newestByTarget(entries: readonly AuditItem[]): ReadonlyMap<string, AuditItem> {
  const failed = new Set(
    entries.flatMap(({ outcome, detail }) => (outcome === 'allowed' ? [] : [detail?.['of']])),
  )
  const newest = new Map<string, AuditItem>()
  for (const entry of entries) {
    const isSaid = entry.outcome === 'allowed' && entry.detail !== undefined && !failed.has(entry.seq)
    if (isSaid) newest.set(entry.target, entry)
  }
  return newest
}

interface SaidKeys {
  readonly newest: ReadonlyMap<string, AuditItem>
  readonly byIndex: ReadonlyMap<number, AuditItem>
}

async function problemOf(
  node: NodeItem,
  { newest, byIndex }: SaidKeys,
  log: ProvenLog,
): Promise<string | undefined> {
  const { id, name, entry: index, keys } = node
  if (index === null) return 'no entry says its keys; the gateway writes one within a minute of its start'
  const entry = byIndex.get(index) ?? (await log.entry(index))
  if (!saysKeys(entry, { id, ...keys })) return `entry ${index} does not say the keys it has`
  if (entry.detail?.['name'] !== name) return `entry ${index} says them of a node of another name`
  const last = index < log.size ? newest.get(`node:${id}`) : entry
  if (last !== undefined && !saysKeys(last, { id, ...keys }))
    return `entry ${last.seq} says other keys than the registry`
  return undefined
}
