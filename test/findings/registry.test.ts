/** The findings are complete, their tests are there, and the document says what the registry says. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { DOCUMENT, describeRegistry, registryProblems } from '../../scripts/findings-document.ts'
import { proofsOf, verdictOf } from '../../scripts/findings-verdicts.ts'
import { ALL_LINES } from './ids.ts'
import { REGISTRY } from './registry.ts'

const ROOT = join(import.meta.dirname, '../..')

test('every line has an entry, and every entry is of a line', () => {
  expect(registryProblems()).toEqual([])
  expect(ALL_LINES).toHaveLength(new Set(ALL_LINES).size)
})

test('docs/audit-findings.md is up to date (npm run findings -- --write-docs)', () => {
  expect(readFileSync(join(ROOT, DOCUMENT), 'utf8')).toBe(describeRegistry())
})

test.each([...new Set(ALL_LINES.flatMap(proofsOf).map(([file]) => file))])(
  '%s has the tests that are named',
  (file) => {
    const source = readFileSync(join(ROOT, 'test', file), 'utf8').replaceAll("\\'", "'")
    for (const [, ...titles] of ALL_LINES.flatMap(proofsOf).filter(([other]) => other === file)) {
      for (const title of titles) for (const part of title.split(' > ')) expect(source).toContain(part)
    }
  },
)

describe('a verdict', () => {
  const [line = ''] =
    Object.entries(REGISTRY).find(([, entry]) => 'proofs' in entry && !('deviation' in entry)) ?? []
  const passed = proofsOf(line).flatMap(([file, ...titles]) =>
    titles.map((title) => ({ file, title: title.replace(/%[sijodfO]/g, 'case'), status: 'passed' })),
  )

  test('is ok if every test of it passed, and only then', () => {
    expect(verdictOf(line, passed)).toEqual({ kind: 'ok' })
    expect(verdictOf(line, passed.slice(1)).kind).toBe('failed')
    for (const status of ['failed', 'skipped', 'pending', 'todo']) {
      const [first, ...others] = passed.map((run) => ({ ...run, status: 'passed' }))
      expect(verdictOf(line, [{ ...(first ?? expect.fail()), status }, ...others]).kind).toBe('failed')
    }
    expect(verdictOf('H9.9', passed).kind).toBe('failed')
  })
})
