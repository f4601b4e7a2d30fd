/** docs/audit-findings.md, made from the registry; a test keeps it up to date. */
import { ALL_LINES, FINDINGS } from '../test/findings/ids.ts'
import type { Entry } from '../test/findings/registry/entry.ts'
import { REGISTRY } from '../test/findings/registry.ts'

export const DOCUMENT = 'docs/audit-findings.md'

/** Lines without an entry, and entries of no line. */
export const registryProblems = (): string[] => [
  ...ALL_LINES.filter((line) => !Object.hasOwn(REGISTRY, line)).map(
    (line) => `${line} is not in the registry`,
  ),
  ...Object.keys(REGISTRY)
    .filter((line) => !ALL_LINES.includes(line))
    .map((line) => `${line} is in the registry and is no line of the findings`),
]

export function describeRegistry(): string {
  const tables = Object.entries(FINDINGS).map(([id, { title, lines }]) => {
    const rows = Object.entries(lines).map(
      ([line, text]) => `| ${line} | ${text} | ${verdict(REGISTRY[line])} | ${proof(REGISTRY[line])} |`,
    )
    const heading = id.length > 1 ? `${id}: ${title}` : title
    return `## ${heading}\n\n| line | what it asks | verdict | proof |\n| --- | --- | --- | --- |\n${rows.join('\n')}\n`
  })
  return `${INTRODUCTION}\n${tables.join('\n')}`
}

const INTRODUCTION = `# Findings of the security audit

Every line of the audit of the original, and what proves it here. Made by \`npm run findings -- --write-docs\` from
\`test/findings/registry.ts\`; \`npm run findings\` runs exactly these tests and fails if one is missing, skipped or failing.

- **ok**: the tests prove it.
- **deviates**: kept in another way than the line says; the tests prove that way.
- **open**: the system it speaks of is not built yet.
`

function verdict(entry: Entry | undefined): string {
  if (entry === undefined) return 'none'
  if ('open' in entry) return `open: ${cell(entry.open)}`
  return 'deviation' in entry ? `deviates: ${cell(entry.deviation)}` : 'ok'
}

function proof(entry: Entry | undefined): string {
  if (entry === undefined || 'open' in entry) return ''
  if ('by' in entry) return `as ${entry.by.join(', ')}`
  return entry.proofs
    .map(([file, ...titles]) => `\`test/${file}\`: ${titles.map((title) => `“${cell(title)}”`).join(', ')}`)
    .join('<br>')
}

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;')
