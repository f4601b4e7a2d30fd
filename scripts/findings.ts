/**
 * `npm run findings`: runs exactly the tests that prove the audit's lines, and prints a line for each with its verdict. Fails if a line has no
 * entry, or a test of one is missing, skipped or failing. `-- --write-docs` writes docs/audit-findings.md; `-- H1.1 X4` looks at some only.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ALL_LINES, FINDINGS } from '../test/findings/ids.ts'
import { DOCUMENT, describeRegistry, registryProblems } from './findings-document.ts'
import { proofsOf, type TestRun, type Verdict, verdictOf } from './findings-verdicts.ts'
import { ensureHostPackages } from './host-packages.ts'
import { ROOT, run } from './run.ts'

const MARK: Readonly<Record<Verdict['kind'], string>> = {
  ok: 'ok',
  failed: 'FAILED',
  open: 'open',
  deviates: 'deviates',
}

const args = process.argv.slice(2)
if (args.includes('--write-docs')) {
  writeFileSync(join(ROOT, DOCUMENT), describeRegistry())
  process.stdout.write(`wrote ${DOCUMENT}\n`)
} else process.exitCode = check(args.length === 0 ? ALL_LINES : args)

function check(wanted: readonly string[]): number {
  const problems = registryProblems()
  for (const problem of problems) process.stdout.write(`${problem}\n`)
  if (problems.length > 0) return 1

  const files = new Set(wanted.flatMap(proofsOf).map(([file]) => `test/${file}`))
  const tests = files.size === 0 ? [] : runTests([...files])
  const counts = { ok: 0, failed: 0, open: 0, deviates: 0 }
  for (const [id, { title, lines }] of Object.entries(FINDINGS)) {
    const shown = Object.entries(lines).filter(([line]) => wanted.includes(line))
    if (shown.length > 0) process.stdout.write(`\n${id.length > 1 ? `${id} ` : ''}${title}\n`)
    for (const [line, text] of shown) {
      const verdict = verdictOf(line, tests)
      counts[verdict.kind]++
      const why = verdict.why === undefined ? '' : `: ${verdict.why}`
      process.stdout.write(`  ${MARK[verdict.kind].padEnd(9)} ${line.padEnd(5)} ${text}${why}\n`)
    }
  }
  const { ok, failed, open, deviates } = counts
  process.stdout.write(`\n${ok} ok, ${deviates} deviate, ${open} open, ${failed} failed\n`)
  return failed === 0 ? 0 : 1
}

interface Report {
  readonly testResults: readonly {
    readonly name: string
    readonly assertionResults: readonly {
      readonly ancestorTitles: readonly string[]
      readonly title: string
      readonly status: string
    }[]
  }[]
}

function runTests(files: readonly string[]): TestRun[] {
  ensureHostPackages()
  const folder = mkdtempSync(join(tmpdir(), 'claw-findings-'))
  const output = join(folder, 'report.json')
  try {
    run('vitest', [
      'run',
      '--reporter=dot',
      '--reporter=json',
      `--outputFile.json=${output}`,
      '--silent=true',
      ...files,
    ])
    const { testResults } = JSON.parse(readFileSync(output, 'utf8')) as Report
    return testResults.flatMap(({ name, assertionResults }) =>
      assertionResults.map(({ ancestorTitles, title, status }) => ({
        file: name.slice(ROOT.length).replace(/^test\//, ''),
        title: [...ancestorTitles, title].join(' > '),
        status,
      })),
    )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
