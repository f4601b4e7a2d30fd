/**
 * `npm run mutations`: takes one guard away at a time, in a copy of the tree, and runs the test that must notice. A mutation that survives is
 * a test that is missing. `-- WORD` runs those whose names hold the word; `-- --check` only says which no longer fit the sources.
 */
import { execFileSync, spawn } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { ROOT } from '../run.ts'
import { misfits } from './fit.ts'
import { MUTATIONS } from './list.ts'
import type { Mutation } from './mutation.ts'

const COPIES = 2
/** Of all the files at once, and of one of them. */
const ALL_TIMEOUT_MS = 1_800_000
const TEST_TIMEOUT_MS = 300_000

type Outcome = 'caught' | 'SURVIVED' | 'BROKEN'

const CHECK = '--check'
const isCheck = process.argv.includes(CHECK)
const wanted = process.argv.slice(2).filter((word) => word !== CHECK)
const mutations = MUTATIONS.filter(({ name }) => wanted.every((word) => name.includes(word)))
const folder = mkdtempSync(join(tmpdir(), 'claw-mutations-'))

async function main(): Promise<number> {
  if (mutations.length === 0) {
    process.stdout.write(`no mutation is called ${wanted.join(' ')}\n`)
    return 1
  }
  const problems = misfits(mutations)
  for (const problem of problems) process.stdout.write(`${problem}\n`)
  if (problems.length > 0) return 1
  if (isCheck) {
    process.stdout.write(`${mutations.length} mutations fit\n`)
    return 0
  }

  const copies = Array.from({ length: COPIES }, (_, index) => copyTree(join(folder, String(index))))
  const [copy = ''] = copies
  const tests = [...new Set(mutations.map(({ test }) => test))]
  const asItIs = await runTests(copy, ['--project', 'gateway', '--project', 'host'], tests, ALL_TIMEOUT_MS)
  if (asItIs.failed > 0 || asItIs.passed === 0) {
    process.stdout.write(`without any mutation ${asItIs.passed} tests pass and ${asItIs.failed} fail\n`)
    return 1
  }

  const outcomes = await inCopies(copies, mutations, async (copy, mutation) => {
    const outcome = await tryOut(copy, mutation)
    process.stdout.write(`${outcome.padEnd(9)} ${mutation.name}\n`)
    return outcome
  })
  const caught = outcomes.filter((outcome) => outcome === 'caught').length
  process.stdout.write(`\n${caught} of ${mutations.length} mutations caught\n`)
  return caught === mutations.length ? 0 : 1
}

async function tryOut(copy: string, mutation: Mutation): Promise<Outcome> {
  const path = join(copy, mutation.file)
  const original = readFileSync(path, 'utf8')
  writeFileSync(
    path,
    original.replace(mutation.search, () => mutation.replace),
  )
  try {
    const { passed, failed } = await runTests(copy, selection(mutation), [mutation.test])
    if (failed > 0) return 'caught'
    // No test at all is no verdict: the mutation does not even load.
    return passed > 0 ? 'SURVIVED' : 'BROKEN'
  } finally {
    writeFileSync(path, original)
  }
}

const selection = ({ project, title }: Mutation): string[] => [
  '--project',
  project,
  ...(title === undefined ? [] : ['-t', title.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')]),
]

/** Works the items off, one at a time in each copy; results in the order of the items. */
async function inCopies<T, R>(
  copies: readonly string[],
  items: readonly T[],
  work: (copy: string, item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  const queue = items.entries()
  await Promise.all(
    copies.map(async (copy) => {
      for (const [index, item] of queue) results[index] = await work(copy, item)
    }),
  )
  return results
}

function runTests(
  copy: string,
  selected: readonly string[],
  tests: readonly string[],
  timeout = TEST_TIMEOUT_MS,
): Promise<{ passed: number; failed: number }> {
  const report = join(copy, 'mutation-report.json')
  rmSync(report, { force: true })
  const files = tests.map((test) => `test/${test}`)
  const args = [
    'run',
    ...selected,
    '--reporter=json',
    `--outputFile.json=${report}`,
    '--silent=true',
    ...files,
  ]
  return new Promise((resolve, reject) => {
    const child = spawn(join(ROOT, 'node_modules/.bin/vitest'), args, {
      cwd: copy,
      stdio: 'ignore',
      timeout,
      env: {
        ...process.env,
        PATH: `${ROOT}node_modules/.bin:${process.env['PATH']}`,
        CLOUDFLARE_CF_FETCH_ENABLED: 'false',
        WRANGLER_SEND_METRICS: 'false',
      },
    })
    child.once('error', reject)
    child.once('exit', () => resolve(totals(report)))
  })
}

function totals(report: string): { passed: number; failed: number } {
  if (!existsSync(report)) return { passed: 0, failed: 0 }
  const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, 'utf8')) as {
    numPassedTests: number
    numFailedTests: number
  }
  return { passed: numPassedTests, failed: numFailedTests }
}

/** What git knows of, as it is now, with the packages of this one. */
function copyTree(target: string): string {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
    cwd: ROOT,
    encoding: 'utf8',
  })
  for (const path of listed.split('\n').filter((name) => name !== '' && existsSync(join(ROOT, name)))) {
    mkdirSync(dirname(join(target, path)), { recursive: true })
    cpSync(join(ROOT, path), join(target, path))
  }
  symlinkSync(join(ROOT, 'node_modules'), join(target, 'node_modules'))
  return target
}

try {
  process.exitCode = await main()
} finally {
  rmSync(folder, { recursive: true, force: true })
}
