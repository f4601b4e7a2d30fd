import { describe, expect, test } from 'vitest'
import { parseAssignments, secretEnvironment, secretNames } from '../../agent/secret-environment.ts'
import { utf8 } from '../../crypto/bytes.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { SecretName } from '../../protocol/ids.ts'

describe('--secret ENV=NAME', () => {
  test('names a variable and a secret; two variables may hold one secret', () => {
    const assignments = parseAssignments(['A=db.password', '_b2=db.password', 'C=x'])
    expect(assignments[1]).toEqual({ variable: '_b2', secret: 'db.password' })
    expect(secretNames(assignments)).toEqual(['db.password', 'x'])
  })

  test.each(['TOKEN', '=x', '1A=x', 'A B=x', 'A-B=x', 'A=', 'A=Upper', 'A=a=b', 'Ä=x'])(
    '%s is a usage error',
    (text) => {
      expect(() => parseAssignments([text])).toThrow(
        expect.objectContaining({ code: 'E_USAGE', exitCode: 2 }),
      )
    },
  )

  test('a value given in place of a name is not repeated in the message', () => {
    expect(() => parseAssignments(['TOKEN=Hunter2/Canary'])).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining('Canary') }),
    )
  })

  test('the same variable twice, and more secrets than one request takes, are usage errors', () => {
    expect(() => parseAssignments(['A=x', 'A=y'])).toThrow(/twice/)
    expect(() => parseAssignments(Array.from({ length: 65 }, (_, n) => `A${n}=s${n}`))).toThrow(/64/)
  })
})

describe('values as variables', () => {
  const [name] = [SecretName.parse('x')]
  const environment = (bytes: Uint8Array) =>
    secretEnvironment([{ variable: 'A', secret: name }], new Map([[name, SecretBytes.take(bytes)]]))

  test.each(['plain', '', 'grün 🔑', 'line\nbreak\n', '\ufeffwith a mark', 'quote\'s "and" $dollar'])(
    '%j arrives as it is',
    (text) => {
      expect(environment(utf8(text))).toEqual({ A: text })
    },
  )

  test.each([
    ['NUL', Uint8Array.of(65, 0, 66)],
    ['bytes that are not UTF-8', Uint8Array.of(0xff, 0xfe)],
    ['a surrogate', Uint8Array.of(0xed, 0xa0, 0x80)],
  ])('%s is refused, without the value', (_, bytes) => {
    expect(() => environment(bytes)).toThrow(expect.objectContaining({ code: 'E_SECRET_NOT_TEXT' }))
  })
})
