/** `npm run check`: types, lint and format, unused code, one-way imports, and that the Worker bundles within its budget. */
import { checkBundle } from './bundle.ts'
import { importViolations } from './imports.ts'
import { run } from './run.ts'

const steps: readonly (readonly [string, () => number])[] = [
  ['worker types', () => run('wrangler', ['types', '--include-env=false'])],
  ['types: gateway', () => run('tsc', ['-p', 'tsconfig.gateway.json'])],
  ['types: host', () => run('tsc', ['-p', 'tsconfig.node.json'])],
  ['lint and format', () => run('biome', ['check', '--error-on-warnings', '.'])],
  ['unused code', () => run('knip', [])],
  ['one-way imports', checkImports],
  ['bundle', checkBundle],
]

let failed = 0
for (const [name, step] of steps) {
  const status = step()
  process.stdout.write(`${status === 0 ? 'ok  ' : 'FAIL'} ${name}\n`)
  if (status !== 0) failed++
}
process.exitCode = failed === 0 ? 0 : 1

function checkImports(): number {
  const violations = importViolations()
  for (const violation of violations) process.stderr.write(`${violation}\n`)
  return violations.length
}
