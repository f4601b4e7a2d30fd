/**
 * `npm test`: prepares the host, runs every project, and closes with the true totals. Arguments go on to vitest.
 * In CI a test that this host cannot run is a failure: there the host is ours to prepare.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ensureHostPackages } from './host-packages.ts'
import { run } from './run.ts'

interface Report {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly numPendingTests: number
  readonly numTodoTests: number
  readonly success: boolean
}

ensureHostPackages()
const folder = mkdtempSync(join(tmpdir(), 'claw-test-'))
const report = join(folder, 'report.json')
let status = run('vitest', [
  'run',
  '--reporter=default',
  '--reporter=json',
  `--outputFile.json=${report}`,
  ...process.argv.slice(2),
])
try {
  const {
    numPassedTests: passed,
    numFailedTests,
    numPendingTests,
    numTodoTests,
  } = JSON.parse(readFileSync(report, 'utf8')) as Report
  const skipped = numPendingTests + numTodoTests
  if (process.env['CI'] === 'true' && skipped > 0) {
    process.stdout.write('a skipped test is a failure in CI\n')
    status ||= 1
  }
  // A file that failed outside any test counts as one failure, or the totals would look clean.
  const failed = numFailedTests === 0 && status !== 0 ? 1 : numFailedTests
  process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`)
} catch {
  process.stdout.write('0 passed, 1 failed, 0 skipped\n')
  status ||= 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
process.exitCode = status
