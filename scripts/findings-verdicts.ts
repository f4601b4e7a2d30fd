/** What a run of the tests says of one line of the findings. */

import type { Proof } from '../test/findings/registry/entry.ts'
import { REGISTRY } from '../test/findings/registry.ts'

/** One test as it ran; `status` is vitest's. */
export interface TestRun {
  readonly file: string
  readonly title: string
  readonly status: string
}

export interface Verdict {
  readonly kind: 'ok' | 'failed' | 'open' | 'deviates'
  readonly why?: string
}

/** The tests of a line, or of the lines that prove it. */
export function proofsOf(line: string): readonly Proof[] {
  const entry = REGISTRY[line]
  if (entry === undefined) return []
  if ('by' in entry) return entry.by.flatMap(proofsOf)
  return 'proofs' in entry ? entry.proofs : []
}

export function verdictOf(line: string, tests: readonly TestRun[]): Verdict {
  const entry = REGISTRY[line]
  if (entry === undefined) return { kind: 'failed', why: 'there is no such line' }
  if ('open' in entry) return { kind: 'open', why: entry.open }
  const wrong = proofsOf(line).flatMap(([file, ...titles]) =>
    titles.flatMap((title) => problemOf(file, title, tests)),
  )
  if (wrong.length > 0) return { kind: 'failed', why: wrong.join('; ') }
  return 'deviation' in entry ? { kind: 'deviates', why: entry.deviation } : { kind: 'ok' }
}

function problemOf(file: string, title: string, tests: readonly TestRun[]): string[] {
  const pattern = titlePattern(title)
  const found = tests.filter((test) => test.file === file && pattern.test(test.title))
  if (found.length === 0) return [`no test “${title}” in ${file} has run`]
  return found
    .filter(({ status }) => status !== 'passed')
    .map((test) => `${test.status}: ${test.title} (${file})`)
}

/** `%s` and its like stand for whatever a case puts there. */
function titlePattern(title: string): RegExp {
  const parts = title.split(/%[sijodfO]|\$\w+/)
  return new RegExp(`^${parts.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('.*')}$`, 's')
}
