import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { didYouMean } from '../../host/did-you-mean.ts'
import { ago, fields, printJson, table } from '../../host/output.ts'
import { printError, UserError } from '../../host/user-error.ts'

interface Row {
  readonly name: string
  readonly status: string
}

test('columns are aligned and lines not padded', () => {
  const rows: Row[] = [
    { name: 'a', status: 'online' },
    { name: 'longer', status: '' },
  ]
  const columns = [
    { header: 'NAME', value: ({ name }: Row) => name },
    { header: 'STATUS', value: ({ status }: Row) => status },
  ]
  expect(table(rows, columns)).toBe('NAME     STATUS\na        online\nlonger\n')
  expect(table([], columns)).toBe('NAME   STATUS\n')
})

test('what another machine calls itself cannot steer the terminal', () => {
  const evil = '\u001b[2Jx\r\n'
  expect(table([evil], [{ header: 'NAME', value: (name: string) => name }])).toBe('NAME\n?[2Jx??\n')
  expect(fields([['name', evil]])).toBe('name   ?[2Jx??\n')
  expect(fields([[`custom ${evil}`, 'x']])).toBe('custom ?[2Jx??   x\n')
})

test('nor make it show the letters of a line in another order than they have', () => {
  expect(fields([['name', 'a\u202egnp.exe\u2066b\u200f']])).toBe('name   a?gnp.exe?b?\n')
})

test('nor does what a program prints as JSON', () => {
  const written = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
  printJson({ reason: '\u009b2J\u001b[2J\u007f\u202e' })
  const [text] = written.mock.calls[0] ?? []
  written.mockRestore()
  expect(text).toMatch(/^[\n -~]+$/)
  expect(JSON.parse(String(text))).toEqual({ reason: '\u009b2J\u001b[2J\u007f\u202e' })
})

test.each([
  [0, 'now'],
  [400, 'now'],
  [5_000, '5s ago'],
  [59_000, '59s ago'],
  [60_000, '1m ago'],
  [2 * 3_600_000, '2h ago'],
  [3 * 86_400_000, '3d ago'],
  [-600_000, 'in 10m'],
])('%i ms before now is %s', (milliseconds, text) => {
  const now = new Date('2026-01-01T00:00:00Z')
  expect(ago(new Date(now.getTime() - milliseconds), now)).toBe(text)
})

test.each([
  ['shwo', 'show'],
  ['sho', 'show'],
  ['shoow', 'show'],
  ['shaw', 'show'],
  ['hsow', 'show'],
  ['xyz', undefined],
  ['', 'ls'],
])('%j may mean %s', (word, meant) => {
  expect(didYouMean(word, ['show', 'ls', 'revoke'])).toBe(meant && `did you mean ${meant}?`)
})

describe('an error', () => {
  let written = ''
  beforeEach(() => {
    written = ''
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      written += String(text)
      return true
    })
  })
  afterEach(() => {
    vi.restoreAllMocks()
    vi.unstubAllEnvs()
  })

  const error = new UserError({
    code: 'E_X',
    message: 'it failed',
    why: 'because',
    fix: 'do this',
    exitCode: 6,
    requestId: 'req_1',
  })

  test('says what, why and what to do', () => {
    expect(printError(error)).toBe(6)
    expect(written).toBe('error: it failed\n  why: because\n  fix: do this\n  code: E_X\n  request: req_1\n')
  })

  test('is told by somebody else, perhaps, and steers no terminal', () => {
    const evil = 'x\u001b]0;owned\u0007\u009b2J\r\u202e'
    const told = { code: evil, message: evil, why: `one\ntwo ${evil}`, fix: evil, requestId: evil }
    printError(new UserError(told))
    expect(written).not.toMatch(/[^\n -~]/)
    expect(written).toContain('  why: one\ntwo x?]0;owned??2J??\n')
    written = ''
    printError(new UserError(told), { json: true })
    expect(written).not.toMatch(/[^\n -~]/)
    expect(JSON.parse(written)).toMatchObject({ error: told })
  })

  test('is one line of JSON for programs', () => {
    printError(error, { json: true })
    expect(written.match(/\n/g)).toHaveLength(1)
    expect(JSON.parse(written)).toEqual({
      error: {
        code: 'E_X',
        message: 'it failed',
        why: 'because',
        fix: 'do this',
        requestId: 'req_1',
        exitCode: 6,
      },
    })
  })

  test('that is a bug shows its stack only when asked', () => {
    expect(printError(new TypeError('x is undefined'))).toBe(1)
    expect(written).toMatch(/^error: x is undefined\n/)
    expect(written).not.toContain('output.test.ts')
    vi.stubEnv('CLAW_DEBUG', '1')
    printError(new TypeError('x is undefined'))
    expect(written).toContain('output.test.ts')
  })
})
