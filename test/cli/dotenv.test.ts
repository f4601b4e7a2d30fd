/** `.env` files: as `dotenv` reads them, with Node's own reader and a shell as witnesses. */
import { execFileSync } from 'node:child_process'
import { parseEnv } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { dotenvLine, parseDotenv } from '../../cli/secrets/dotenv.ts'

const values = (text: string): Record<string, string> =>
  Object.fromEntries(parseDotenv(text).entries.map(({ key, value }) => [key, value]))

describe('what dotenv reads', () => {
  // The cases of dotenv's own documentation and tests, by their meaning.
  test.each([
    ['BASIC=basic', 'basic'],
    ['  BASIC = basic  ', 'basic'],
    ['export BASIC=basic', 'basic'],
    ['EMPTY=', ''],
    ["EMPTY=''", ''],
    ['EMPTY=""', ''],
    ["QUOTED='single quotes'", 'single quotes'],
    ["QUOTED='    kept    '", '    kept    '],
    ['QUOTED="double quotes"', 'double quotes'],
    ['QUOTED=`back "and" \'ticks\'`', 'back "and" \'ticks\''],
    ['INNER=\'with "double" inside\'', 'with "double" inside'],
    ['INNER="with \'single\' inside"', "with 'single' inside"],
    ['LINES="one\\ntwo"', 'one\ntwo'],
    ["LINES='one\\ntwo'", 'one\\ntwo'],
    ['LINES=one\\ntwo', 'one\\ntwo'],
    ['RETURN="one\\r\\ntwo"', 'one\r\ntwo'],
    ['MULTI="first\nsecond\n"', 'first\nsecond\n'],
    ["MULTI='first\nsecond'", 'first\nsecond'],
    ['COMMENT=value # not this', 'value'],
    ['COMMENT="value # this" # not this', 'value # this'],
    ["COMMENT='value'#not this", 'value'],
    ['EQUALS=a=b==', 'a=b=='],
    ['JSON={"foo": "bar"}', '{"foo": "bar"}'],
    ['JSON=\'{"foo": "bar"}\'', '{"foo": "bar"}'],
    ['MIDDLE=it\'s "so"', 'it\'s "so"'],
    ['YAML: value', 'value'],
    ['DOTS.and-dashes=value', 'value'],
    ['ESCAPED="a\\"b"', 'a\\"b'],
  ])('%j', (line, value) => {
    const { entries, problems } = parseDotenv(`# before\n\n${line}\nAFTER=x\n`)
    expect(problems).toEqual([])
    expect(entries).toEqual([
      { key: expect.any(String), value, line: 3 },
      { key: 'AFTER', value: 'x', line: 3 + line.split('\n').length },
    ])
  })

  test('Windows line ends and a byte-order mark make no difference', () => {
    expect(values('\ufeffA=1\r\nB="x\r\ny"\r\n')).toEqual({ A: '1', B: 'x\ny' })
  })

  test('no end of line is needed, and an empty file holds nothing', () => {
    expect(values('A=1')).toEqual({ A: '1' })
    expect(parseDotenv('')).toEqual({ entries: [], problems: [], notes: [] })
  })
})

describe('what may be half of a value', () => {
  test.each([
    ['JUST_A_WORD', 'is not of the form NAME=value'],
    ['=value', 'is not of the form NAME=value'],
    ['A B=value', 'is not of the form NAME=value'],
    ['OPEN="never closed', 'opens a quote that is never closed'],
    ['TAIL="closed" and more', 'has something behind the closing quote'],
  ])('%j is a problem, told by its line alone', (line, message) => {
    const { entries, problems } = parseDotenv(`A=1\n${line}\nB=2`)
    expect(problems).toEqual([{ line: 2, message }])
    expect(entries.map(({ key }) => key)).toEqual(['A', 'B'])
  })

  test('# within a plain value cuts it, as dotenv does, and is told', () => {
    const { entries, notes } = parseDotenv('A=pass#word\nB=pass # word\nC=#word')
    expect(entries.map(({ value }) => value)).toEqual(['pass', 'pass', ''])
    expect(notes.map(({ line }) => line)).toEqual([1])
  })
})

describe('what is written', () => {
  const printable = fc.string({ unit: 'grapheme', maxLength: 40 })
  const nasty = fc.string({
    unit: fc.constantFrom('a', "'", '"', '`', '$', '\\', '\n', '\r', '#', ' ', '=', '!', '(', ')', 'n'),
    maxLength: 12,
  })
  const value = fc.oneof(printable, nasty)

  test('is read back here as it was, whatever stands around it', () => {
    fc.assert(
      fc.property(fc.array(value, { maxLength: 6 }), (all) => {
        const lines = all.flatMap((one, index) => dotenvLine(`K${index}`, one) ?? [])
        const kept = all.flatMap((one, index) =>
          dotenvLine('K', one) === undefined ? [] : [[`K${index}`, one]],
        )
        expect(values(lines.join(''))).toEqual(Object.fromEntries(kept))
        expect(parseDotenv(lines.join('')).problems).toEqual([])
      }),
      { numRuns: 2000 },
    )
  })

  test('is read by Node as it was', () => {
    fc.assert(
      fc.property(value, (one) => {
        const line = dotenvLine('K', one)
        if (line !== undefined) expect(parseEnv(line)['K']).toBe(one)
      }),
      { numRuns: 2000 },
    )
  })

  test('is a value to a shell, and never a command', () => {
    fc.assert(
      fc.property(fc.array(nasty, { minLength: 1, maxLength: 8 }), (all) => {
        const kept = all.filter((one) => dotenvLine('K', one) !== undefined)
        const script = kept.map(
          (one, index) => `${dotenvLine(`K${index}`, one)}printf '%s\\0' "$K${index}"\n`,
        )
        const read = execFileSync('sh', ['-c', script.join('')], { encoding: 'utf8' })
        expect(read).toBe(kept.map((one) => `${one}\0`).join(''))
      }),
      { numRuns: 60 },
    )
  })

  test('what has no such form is not written in another', () => {
    for (const one of ['\0', 'a\rb', `it's $HOME`, `it's "so"`, `it's \`so\``, `it's \\`, 'ends in \\'])
      expect([one, dotenvLine('K', one)]).toEqual([one, undefined])
  })
})
