/** What a command prints, without its secrets: against a slow twin, cut at random. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { OutputMask } from '../../agent/secrets/output-mask.ts'
import { PatternMatcher } from '../../agent/secrets/pattern-matcher.ts'
import { formsOf } from '../../agent/secrets/secret-forms.ts'

/** Every occurrence is marked, and every run of marks is one mask. */
function maskedAtOnce(text: Buffer, patterns: readonly Uint8Array[]): string {
  const marks = new Uint8Array(text.length)
  for (const pattern of patterns)
    for (let at = text.indexOf(pattern); at >= 0; at = text.indexOf(pattern, at + 1))
      marks.fill(1, at, at + pattern.length)
  let shown = ''
  text.forEach((byte, index) => {
    if (marks[index] === 0) shown += String.fromCharCode(byte)
    else if (marks[index - 1] !== 1) shown += '***'
  })
  return shown
}

function maskedInPieces(text: Uint8Array, cuts: readonly number[], patterns: readonly Uint8Array[]): string {
  const mask = new OutputMask(new PatternMatcher(patterns))
  const places = [...cuts.map((cut) => cut % (text.length + 1)), text.length].sort((a, b) => a - b)
  const shown = places.map((place, index) => mask.write(text.subarray(places[index - 1] ?? 0, place)))
  return Buffer.concat([...shown, mask.end()]).toString('latin1')
}

const mask = (text: string, ...secrets: readonly string[]): string =>
  maskedInPieces(
    Buffer.from(text),
    [],
    secrets.flatMap((secret) => formsOf(Buffer.from(secret))),
  )

describe('masking', () => {
  test('is the same however the stream is cut', () => {
    // Few letters, so that secrets overlap, repeat and almost occur.
    const letters = fc.array(fc.constantFrom(97, 98), { maxLength: 60 }).map((bytes) => Buffer.from(bytes))
    const pattern = fc.array(fc.constantFrom(97, 98), { minLength: 1, maxLength: 9 })
    const patterns = fc.array(
      pattern.map((bytes) => Uint8Array.from(bytes)),
      { maxLength: 5 },
    )
    const property = fc.property(letters, patterns, fc.array(fc.nat(60)), (text, secrets, cuts) => {
      expect(maskedInPieces(text, cuts, secrets)).toBe(maskedAtOnce(text, secrets))
    })
    fc.assert(property, { numRuns: 5000 })
  })

  test('holds nothing back but what may yet become a secret', () => {
    const stream = new OutputMask(new PatternMatcher([Buffer.from('hunter2')]))
    const shown = (text: string) => Buffer.from(stream.write(Buffer.from(text))).toString()
    expect(shown('a line\nand hun')).toBe('a line\nand ')
    expect(shown('t')).toBe('')
    expect(shown('ing')).toBe('hunting')
    expect(shown('hunter2')).toBe('***')
    expect(shown('hunt')).toBe('')
    expect(Buffer.from(stream.end()).toString()).toBe('hunt')
  })

  test('takes no longer for a secret that almost occurs at every byte', () => {
    const secret = Buffer.concat([Buffer.alloc(200_000, 'a'), Buffer.from('b')])
    const text = Buffer.alloc(4_000_000, 'a')
    const stream = new OutputMask(new PatternMatcher([secret]))
    let shown = 0
    for (let at = 0; at < text.length; at += 65_536)
      shown += stream.write(text.subarray(at, at + 65_536)).length
    expect(shown + stream.end().length).toBe(text.length)
  })

  test('a matcher that was wiped holds no secret, and finds none', () => {
    const matcher = new PatternMatcher([Buffer.from('hunter2')])
    matcher.wipe()
    const stream = new OutputMask(matcher)
    expect(Buffer.from(stream.write(Buffer.from('hunter2'))).toString()).toBe('hunter2')
  })
})

describe('forms of a secret', () => {
  const secret = 'corréct "horse"/battery 51c2?+'
  const bytes = Buffer.from(secret)

  test.each([
    ['itself', secret],
    ['base64', bytes.toString('base64')],
    ['base64 for URLs', bytes.toString('base64url')],
    ['base64 of it with something before it', Buffer.from(`u:${secret}`).toString('base64').slice(3)],
    ['hexadecimal', bytes.toString('hex')],
    ['hexadecimal in capitals', bytes.toString('hex').toUpperCase()],
    ['of a URL', encodeURIComponent(secret)],
    ['of a form', new URLSearchParams({ a: secret }).toString().slice(2)],
    ['of JSON', JSON.stringify(secret).slice(1, -1)],
  ])('%s', (_, form) => {
    expect(mask(`before ${form} after`, secret)).toMatch(/^before [^ ]{0,2}\*\*\*[^ ]{0,2} after$/)
  })

  test('wherever it stands in a longer base64 text, all of it but the ends is hidden', () => {
    const property = fc.property(
      fc.uint8Array({ maxLength: 9 }),
      fc.uint8Array({ maxLength: 9 }),
      (before, after) => {
        const text = Buffer.concat([before, bytes, after]).toString('base64')
        const [head = '', tail] = mask(text, secret).split('***')
        expect(tail).toBeDefined()
        expect(head.length).toBeLessThanOrEqual(Math.ceil((before.length * 8) / 6))
        expect(tail?.length).toBeLessThanOrEqual(Math.ceil((after.length * 8) / 6) + 3)
      },
    )
    fc.assert(property)
  })

  test('base64 in lines, as the tools write it', () => {
    const long = Buffer.alloc(200, 'secret of many lines ').toString()
    const lines = (
      Buffer.from(`${long}\n`)
        .toString('base64')
        .match(/.{1,76}/g) ?? []
    ).join('\n')
    expect(mask(lines, long)).toMatch(/^\*\*\*.{0,6}$/)
  })

  test('without the line end that it is stored with', () => {
    expect(mask('got hunter2, encoded aHVudGVyMg==', 'hunter2\n')).toBe('got ***, encoded ***')
  })

  test.each(['', 'abc', 'abc\n'])('%j is too short', (short) => {
    expect(formsOf(Buffer.from(short))).toEqual([])
  })

  test('bytes that are no text are found, too', () => {
    const binary = Uint8Array.of(0xff, 0, 0xfe, 1, 2)
    expect(
      maskedInPieces(Buffer.concat([Buffer.from('<'), binary, Buffer.from('>')]), [3], formsOf(binary)),
    ).toBe('<***>')
  })
})
