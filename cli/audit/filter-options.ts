/** Which entries: the flags of the commands that look for some. */
import { parseDuration } from '../../host/duration.ts'
import { type OptionSpecs, usageError } from '../../host/options.ts'

export const filterOptions = {
  actor: { type: 'string', value: 'ACTOR', help: 'of this actor, such as admin:root, key:NAME or node:ID' },
  action: { type: 'string', value: 'ACTION', help: 'of this action, such as secret.read' },
  target: { type: 'string', value: 'PREFIX', help: 'whose target begins so, such as secret:app/' },
  outcome: {
    type: 'string',
    value: 'OUTCOME',
    choices: ['allowed', 'denied', 'failed'],
    help: 'allowed, denied or failed',
  },
  since: { type: 'string', value: 'TIME', help: 'from then on: 90m, 24h, 7d ago, or 2026-11-24T00:00:00Z' },
  until: { type: 'string', value: 'TIME', help: 'up to then, as --since' },
} as const satisfies OptionSpecs

interface FilterOptions {
  readonly actor?: string | undefined
  readonly action?: string | undefined
  readonly target?: string | undefined
  readonly outcome?: string | undefined
  readonly since?: string | undefined
  readonly until?: string | undefined
}

/** As the gateway's query has it. */
export function readFilter({
  actor,
  action,
  target,
  outcome,
  since,
  until,
}: FilterOptions): Record<string, string> {
  const named = { actor, action, target, outcome, since: readTime(since), until: readTime(until) }
  return Object.fromEntries(
    Object.entries(named).filter((pair): pair is [string, string] => pair[1] !== undefined),
  )
}

function readTime(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  if (/^\d+[smhd]$/.test(text)) return new Date(Date.now() - parseDuration(text)).toISOString()
  const at = /^\d{4}-\d\d-\d\d(T.*)?$/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(at)) throw usageError(`${text} is no time`, 'write 24h, or 2026-11-24T00:00:00Z')
  return new Date(at).toISOString()
}
