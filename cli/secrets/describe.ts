/** Secrets in words and tables. */
import { ago, fields, table } from '../../host/output.ts'
import type { PolicyRule, SecretPolicy } from '../../protocol/secret-policy.ts'
import type { SecretDetail, SecretItem, SecretSettings } from '../../protocol/secrets.ts'

/** Of a list, short: `tag gpu, node a`. */
export function readersText({ policy: { rules } }: Pick<SecretItem, 'policy'>): string {
  const allowed = rules.filter(({ effect }) => effect === 'allow').flatMap(whoText)
  const denied = rules.filter(({ effect }) => effect === 'deny').flatMap(whoText)
  if (allowed.length === 0) return 'no node'
  return [allowed.join(', '), ...(denied.length > 0 ? [`but not ${denied.join(', ')}`] : [])].join(' ')
}

export function ruleText(rule: PolicyRule, now: Date): string {
  const expires = rule.expires === null ? [] : [endText(new Date(rule.expires), now)]
  return [rule.effect, whoText(rule).join(', ') || 'nobody', ...expires].join(' ')
}

function whoText({ nodes, tags, workloads, roles }: PolicyRule): string[] {
  const machines = [...tags.map((tag) => `tag ${tag}`), ...nodes.map((node) => `node ${node}`)]
  const jobs = workloads.length === 0 ? '' : `workload ${workloads.join(' or ')}`
  if (machines.length === 0 && jobs !== '') machines.push('any node')
  const narrowed = jobs === '' ? machines : machines.map((machine) => `${machine} with ${jobs}`)
  return [...narrowed, ...roles.map((role) => `role ${role}`)]
}

export const policyText = ({ rules, expires }: SecretPolicy, now: Date): string[] => [
  ...(rules.length === 0 ? ['nobody but administrators may read'] : []),
  ...rules.map((rule, index) => `${index}: ${ruleText(rule, now)}`),
  ...(expires === null ? [] : [`all of it ${endText(new Date(expires), now)}`]),
]

const endText = (end: Date, now: Date): string =>
  end <= now ? `(ended ${ago(end, now)})` : `(ends ${ago(end, now)})`

export function settingsText(settings: SecretSettings): string {
  const { maxVersions, deleteAfterMs, rotateEveryMs, casRequired } = settings
  return [
    `${maxVersions} versions kept`,
    ...(deleteAfterMs === null ? [] : [`each deleted after ${spanText(deleteAfterMs)}`]),
    ...(rotateEveryMs === null ? [] : [`rotated every ${spanText(rotateEveryMs)}`]),
    ...(casRequired ? ['writes must name the version they replace'] : []),
  ].join(', ')
}

/** How a version stands, as the list shows it: the number alone if it can be read. */
export const versionText = ({ version, state }: SecretItem): string =>
  state === 'live' ? String(version) : `${version} (${state})`

export const dueText = ({ rotationDue }: SecretItem, now: Date): string =>
  rotationDue === null
    ? ''
    : new Date(rotationDue) <= now
      ? `DUE since ${spanText(now.getTime() - Date.parse(rotationDue))}`
      : ago(new Date(rotationDue), now)

export function detailText(secret: SecretDetail, further: readonly (readonly [string, string])[]): string {
  const now = new Date()
  const { name, settings, policy, createdAt, updatedAt } = secret
  const [first = '', ...others] = policyText(policy, now)
  return fields([
    ['name', name],
    ['class', CLASS_TEXT[secret.class]],
    ['version', versionText(secret)],
    ['created', ago(new Date(createdAt), now)],
    ['updated', ago(new Date(updatedAt), now)],
    ...(secret.rotationDue === null ? [] : [['rotation', dueText(secret, now)] as const]),
    ['settings', settingsText(settings)],
    ...Object.entries(settings.custom).map(([key, value]) => [`custom ${key}`, value] as const),
    ['policy', first],
    ...others.map((line) => ['', line] as const),
    ...further,
  ])
}

const CLASS_TEXT = {
  managed: 'managed: the gateway can read it',
  sealed: 'sealed: only the nodes and its owner can read it',
} as const

export function versionTable({ versions, class: secretClass }: SecretDetail, now: Date): string {
  const newestFirst = [...versions].reverse()
  return table(newestFirst, [
    { header: 'VERSION', value: ({ version }) => String(version) },
    { header: 'STATE', value: ({ state }) => state },
    { header: 'CREATED', value: ({ createdAt }) => ago(new Date(createdAt), now) },
    { header: 'EXPIRES', value: ({ expiresAt }) => timeText(expiresAt, now) },
    { header: 'NODES READ IT UNTIL', value: ({ readableUntil }) => timeText(readableUntil, now) },
    secretClass === 'sealed'
      ? { header: 'SEALED TO', value: ({ recipients }) => nodesText(recipients.length) }
      : { header: 'MASTER KEY', value: ({ key }) => (key === null ? '' : String(key)) },
    { header: 'ENTRY', value: ({ entry }) => (entry === null ? '' : String(entry)) },
  ])
}

export const nodesText = (count = 0): string => (count === 1 ? '1 node' : `${count} nodes`)

const timeText = (time: string | null, now: Date): string => (time === null ? '' : ago(new Date(time), now))

const UNITS = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'm'],
  [1_000, 's'],
] as const

/** As flags take it; rounded down to the largest unit that is in it. */
function spanText(ms: number): string {
  const [size, unit] = UNITS.find(([size]) => ms >= size) ?? [1_000, 's']
  return `${Math.floor(ms / size)}${unit}`
}
