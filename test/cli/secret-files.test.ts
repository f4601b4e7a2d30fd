/** Files of secrets on their way in and out: names, forms, and what is refused as a whole. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { asDotenv, asJson, type Exported } from '../../cli/secrets/export-form.ts'
import { ALPHABETS, type Alphabet, generateValue } from '../../cli/secrets/generate.ts'
import { readImport } from '../../cli/secrets/import-file.ts'
import { isIn, nameOfKey, parseFolder, variableOf } from '../../cli/secrets/names.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { SecretName } from '../../protocol/ids.ts'

const folder = SecretName.parse('app')
const imported = (text: string | Uint8Array, format: 'env' | 'json' = 'env') =>
  readImport(Buffer.from(text), format, folder).secrets.map(({ name, value }) => [
    name,
    Buffer.from(value.expose()).toString(),
  ])

const exported = (entries: Readonly<Record<string, string | Uint8Array>>): Exported[] =>
  Object.entries(entries).map(([name, value]) => ({
    name: SecretName.parse(name),
    value: SecretBytes.take(Uint8Array.from(Buffer.from(value))),
  }))

describe('names', () => {
  test.each([
    ['DATABASE_URL', 'app/database_url', false],
    ['api.Key-1', 'app/api.key-1', false],
    ['db/PASSWORD', 'app/db/password', false],
    ['_PRIVATE', 'app/private', true],
    ['Spaced Name', 'app/spaced_name', true],
    ['ends.', 'app/ends', true],
    ['Ünï', 'app/n_', true],
  ])('%s', (key, name, altered) => {
    expect(nameOfKey(folder, [key])).toEqual({ ok: true, value: { name, altered } })
  })

  test.each(['', '___', 'a//b', '/a', 'x'.repeat(260)])('%j makes none', (key) => {
    expect(nameOfKey(folder, [key])).toEqual({ ok: false, error: 'no-name' })
  })

  test('a folder is the same with and without its slash, and none is all', () => {
    expect([parseFolder('app/'), parseFolder('app'), parseFolder(''), parseFolder(undefined)]).toEqual([
      'app',
      'app',
      undefined,
      undefined,
    ])
    expect(() => parseFolder('No Folder')).toThrow()
    expect(['app', 'app/a', 'app/a/b', 'apple', 'ap'].filter((name) => isIn(folder, name))).toEqual([
      'app',
      'app/a',
      'app/a/b',
    ])
    expect(isIn(undefined, 'anything')).toBe(true)
  })

  test('variables', () => {
    expect(variableOf(folder, 'app/db/pass.word-1')).toBe('DB_PASS_WORD_1')
    expect(variableOf(folder, 'app')).toBe('APP')
    expect(variableOf(undefined, '3d/key')).toBe('_3D_KEY')
  })
})

describe('import', () => {
  test('of .env: the last of a variable that is set twice counts, and that is told', () => {
    const { secrets, notes } = readImport(Buffer.from('A=1\nB=2\nA=3\n'), 'env', undefined)
    expect(secrets.map(({ name, value }) => [name, Buffer.from(value.expose()).toString()])).toEqual([
      ['a', '3'],
      ['b', '2'],
    ])
    expect(notes).toEqual(['line 1: A is set again further down, and that counts'])
  })

  test('of JSON: objects are folders, bytes are bytes', () => {
    const bytes = Buffer.from([0, 255, 10])
    const text = JSON.stringify({
      db: { password: 'x', url: '' },
      blob: { $base64: bytes.toString('base64') },
    })
    expect(imported(text, 'json')).toEqual([
      ['app/db/password', 'x'],
      ['app/db/url', ''],
      ['app/blob', bytes.toString()],
    ])
  })

  test.each([
    ['env', 'A=1\nnonsense\nB="open\n', ['line 2', 'line 3']],
    ['env', 'a.b=1\nA.B=2\n', ['a.b and A.B would both be app/a.b']],
    ['env', `BIG='${'x'.repeat(1024 * 1024 + 1)}'`, ['BIG is larger']],
    ['env', Buffer.from([0x41, 0x3d, 0xff]), ['UTF-8']],
    ['json', '{"a": 1, "b": null, "c": ["x"], "d": true}', ['a is neither', 'b is', 'c is', 'd is']],
    ['json', '{"a": {"$base64": "not base64"}}', ['a is neither']],
    ['json', '{"a": {"$base64": "AAAA", "b": "x"}}', ['a is neither']],
    ['json', '["x"]', ['not a JSON object']],
    ['json', '"x"', ['not a JSON object']],
    ['json', '{', ['not a JSON object']],
    ['json', '{"?": "x"}', ['"?" makes no name']],
  ] as const)('%s %j is refused with everything that is wrong', (format, content, told) => {
    const refused = caught(() => imported(content, format))
    expect(refused).toMatchObject({ code: 'E_IMPORT_FILE' })
    for (const part of told) expect(String(refused.why)).toContain(part)
  })
})

describe('export', () => {
  test('whatever is exported is imported to the same values, as JSON always, as .env or not at all', () => {
    const part = fc.stringMatching(/^[a-z0-9][a-z0-9]{0,6}$/)
    const value = fc.oneof(
      fc.uint8Array({ maxLength: 20 }),
      fc.string().map((text) => Buffer.from(text)),
    )
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.tuple(part, part).map((parts) => `app/${parts.join('/')}`),
          value,
        ),
        (all) => {
          const secrets = exported(all)
          const expected = secrets.map(({ name, value }) => [name, hex(value)])
          const read = (text: string, format: 'env' | 'json') =>
            readImport(Buffer.from(text), format, format === 'json' ? undefined : folder).secrets
          expect(read(asJson(secrets), 'json').map(({ name, value }) => [name, hex(value)])).toEqual(expected)
          let text: string
          try {
            text = asDotenv(folder, secrets)
          } catch (error) {
            expect(error).toMatchObject({ code: 'E_EXPORT_FORM' })
            return
          }
          expect(read(text, 'env').map(({ value }) => hex(value))).toEqual(expected.map(([, one]) => one))
        },
      ),
      { numRuns: 500 },
    )
  })

  test('two names that would be one variable are not exported as one', () => {
    expect(caught(() => asDotenv(folder, exported({ 'app/a.b': '1', 'app/a-b': '2' })))).toMatchObject({
      code: 'E_EXPORT_FORM',
      why: 'app/a.b and app/a-b would both be A_B',
    })
  })

  test('a value that a .env file cannot hold is named, and not shown', () => {
    const refused = caught(() => asDotenv(folder, exported({ 'app/odd': "it's $HOME" })))
    expect(refused).toMatchObject({ code: 'E_EXPORT_FORM' })
    expect(JSON.stringify([refused.message, refused.why, refused.fix])).not.toContain('HOME')
    expect(asJson(exported({ 'app/odd': "it's $HOME" }))).toContain("it's $HOME")
  })
})

describe('drawn values', () => {
  test.each(Object.keys(ALPHABETS) as Alphabet[])(
    '%s: of its characters, each about as often',
    (alphabet) => {
      const characters = ALPHABETS[alphabet]
      expect(new Set(characters).size).toBe(characters.length)
      const count = new Map<string, number>()
      for (const byte of generateValue(100_000, alphabet).expose()) {
        const character = String.fromCharCode(byte)
        count.set(character, (count.get(character) ?? 0) + 1)
      }
      expect([...count.keys()].sort().join('')).toBe([...characters].sort().join(''))
      const expected = 100_000 / characters.length
      // Chi squared: its mean is the degrees of freedom, and six deviations more happen to nobody.
      const freedom = characters.length - 1
      const chi = [...count.values()].reduce((sum, seen) => sum + (seen - expected) ** 2 / expected, 0)
      expect(chi).toBeLessThan(freedom + 6 * Math.sqrt(2 * freedom))
    },
  )

  test('have the length that was asked for, and are never the same', () => {
    expect([1, 7, 32, 4096].map((length) => generateValue(length, 'hex').length)).toEqual([1, 7, 32, 4096])
    expect(hex(generateValue(32, 'hex'))).not.toBe(hex(generateValue(32, 'hex')))
  })
})

const hex = (value: SecretBytes): string => Buffer.from(value.expose()).toString('hex')

function caught(run: () => unknown): { code?: string; message?: string; why?: string; fix?: string } {
  try {
    run()
  } catch (error) {
    return error as { code?: string }
  }
  throw new Error('it was not refused')
}
