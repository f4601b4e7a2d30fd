/** Entries as people read them. */
import { table } from '../../host/output.ts'
import { plainText } from '../../host/plain-text.ts'
import type { AuditItem } from '../../protocol/audit.ts'

export const entryTable = (entries: readonly AuditItem[]): string =>
  table(entries, [
    { header: 'SEQ', value: ({ seq }) => String(seq) },
    { header: 'TIME', value: ({ at }) => at },
    { header: 'ACTOR', value: ({ actor }) => actor },
    { header: 'ACTION', value: ({ action }) => action },
    { header: 'TARGET', value: ({ target }) => target },
    { header: 'OUTCOME', value: ({ outcome }) => outcome },
    { header: 'REASON', value: ({ reason }) => reason },
  ])

/** One, on a line of its own: columns cannot be aligned with what is yet to come. */
export const entryLine = ({ seq, at, actor, action, target, outcome, reason }: AuditItem): string =>
  [seq, at, actor, action, target, outcome, reason]
    .map((field) => plainText(String(field)))
    .join('  ')
    .trimEnd()
