/** What another policy changes, as people read it. */
import type { PairChange, PolicyChanges } from '../../protocol/mesh-policy-changes.ts'

const MAX_LINES = 20

export function changesText(changes: PolicyChanges | null): string {
  if (changes === null)
    return 'what would change cannot be worked out: the policies tell too many kinds of nodes apart\n'
  const { losing, cutOff, gaining, told } = changes
  if (losing + gaining === 0) return 'no pair of nodes loses or gains anything\n'
  const lines = told.slice(0, MAX_LINES).map(lineOf)
  const more = told.length > MAX_LINES ? ['  …'] : []
  const sum = `${pairs(losing)} would lose something, ${cutOff} of them everything; ${pairs(gaining)} would gain something`
  return `${[sum, ...lines, ...more].join('\n')}\n`
}

const lineOf = ({ from, to, before, after, loses }: PairChange): string =>
  `  ${loses ? '-' : '+'} ${endText(from)} -> ${endText(to)}: ${portText(before)} becomes ${portText(after)}`

const endText = ({ names, more }: PairChange['from']): string =>
  more === 0 ? names.join(',') : `${names.join(',')} and ${more} more`

const portText = (ports: readonly string[]): string => ports.join(' ') || 'nothing'

export const pairs = (count: number): string => (count === 1 ? '1 pair' : `${count} pairs`)
