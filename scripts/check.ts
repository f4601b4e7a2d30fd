/** `npm run check`: types, lint and format, unused code, one-way imports, mutations that fit, and that the Worker bundles within its budget. */
import { checkBundle } from './bundle.ts'
import { importViolations } from './imports.ts'
import { misfits } from './mutations/fit.ts'
import { MUTATIONS } from './mutations/list.ts'
import { run } from './run.ts'

const steps: readonly (readonly [string, () => number])[] = [
  ['worker types', () => run('wrangler', ['types', '--include-env=false'])],
  ['types: gateway', () => run('tsc', ['-p', 'tsconfig.gateway.json'])],
  ['types: host', () => run('tsc', ['-p', 'tsconfig.node.json'])],
  ['lint and format', () => run('biome', ['check', '--error-on-warnings', '.'])],
  ['unused code', () => run('knip', [])],
  ['one-way imports', () => report(importViolations())],
  ['mutations fit', () => report(misfits(MUTATIONS))],
  ['bundle', checkBundle],
]

let failed = 0
for (const [name, step] of steps) {
  const status = step()
  process.stdout.write(`${status === 0 ? 'ok  ' : 'FAIL'} ${name}\n`)
  if (status !== 0) failed++
}
process.exitCode = failed === 0 ? 0 : 1

function report(problems: readonly string[]): number {
  for (const problem of problems) process.stderr.write(`${problem}\n`)
  return problems.length
}
