import { describe, expect, test } from 'vitest'
import { parseAssignments, referencesOf } from '../../agent/secrets/assignments.ts'
import { secretText } from '../../agent/secrets/secret-text.ts'
import { utf8 } from '../../crypto/bytes.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { SecretName } from '../../protocol/ids.ts'

const NONE = { secret: [], file: [], pipe: [] }
const secrets = (...secret: string[]) => parseAssignments({ ...NONE, secret })

describe('ENV=NAME', () => {
  test('names a variable and a secret; two variables may hold one secret', () => {
    const assignments = secrets('A=db.password', '_b2=db.password', 'C=folder/x')
    expect(assignments[1]).toEqual({ variable: '_b2', reference: { name: 'db.password' }, form: 'value' })
    expect(referencesOf(assignments)).toEqual([{ name: 'db.password' }, { name: 'folder/x' }])
  })

  test('may name a version', () => {
    const assignments = secrets('A=x@3', 'B=x', 'C=x@3')
    expect(assignments[0]?.reference).toEqual({ name: 'x', version: 3 })
    expect(referencesOf(assignments)).toEqual([{ name: 'x', version: 3 }, { name: 'x' }])
  })

  test('comes in three forms', () => {
    const assignments = parseAssignments({ secret: ['A=x'], file: ['B=x'], pipe: ['C=x'] })
    expect(assignments.map(({ form }) => form)).toEqual(['value', 'file', 'pipe'])
  })

  test.each([
    'TOKEN',
    '=x',
    '1A=x',
    'A B=x',
    'A-B=x',
    'A=',
    'A=Upper',
    'A=a=b',
    'Ä=x',
    'A=x@',
    'A=x@0',
    'A=x@1.5',
  ])('%s is a usage error', (text) => {
    for (const form of ['secret', 'file', 'pipe'])
      expect(() => parseAssignments({ ...NONE, [form]: [text] })).toThrow(
        expect.objectContaining({ code: 'E_USAGE', exitCode: 2 }),
      )
  })

  test('a value given in place of a name is not repeated in the message', () => {
    expect(() => secrets('TOKEN=Hunter2/Canary')).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining('Canary') }),
    )
  })

  test('the same variable twice, in whatever form, and more secrets than one request takes are usage errors', () => {
    expect(() => secrets('A=x', 'A=y')).toThrow(/twice/)
    expect(() => parseAssignments({ ...NONE, secret: ['A=x'], file: ['A=y'] })).toThrow(/twice/)
    expect(() => secrets(...Array.from({ length: 65 }, (_, n) => `A${n}=s${n}`))).toThrow(/64/)
  })
})

describe('values as variables', () => {
  const text = (bytes: Uint8Array) =>
    secretText('A', { name: SecretName.parse('x') }, SecretBytes.take(bytes))

  test.each(['plain', '', 'grün 🔑', 'line\nbreak\n', '\ufeffwith a mark', 'quote\'s "and" $dollar'])(
    '%j arrives as it is',
    (value) => {
      expect(text(utf8(value))).toBe(value)
    },
  )

  test.each([
    ['NUL', Uint8Array.of(65, 0, 66), 'E_SECRET_NOT_TEXT'],
    ['bytes that are not UTF-8', Uint8Array.of(0xff, 0xfe), 'E_SECRET_NOT_TEXT'],
    ['a surrogate', Uint8Array.of(0xed, 0xa0, 0x80), 'E_SECRET_NOT_TEXT'],
    ['more than a variable holds', new Uint8Array(128 * 1024 - 2).fill(65), 'E_SECRET_TOO_LONG'],
  ])('%s is refused, without the value', (_, bytes, code) => {
    expect(() => text(bytes)).toThrow(
      expect.objectContaining({ code, fix: expect.stringContaining('--file A=x') }),
    )
  })

  test('what just fits is taken', () => {
    expect(text(new Uint8Array(128 * 1024 - 3).fill(65))).toHaveLength(128 * 1024 - 3)
  })
})
