/** Templates of configuration files: what they hold comes out byte for byte, and what is not understood is named by line and column. */
import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseTemplate, Template } from '../../agent/secrets/template.ts'

const VALUES: Readonly<Record<string, Uint8Array>> = {
  'db/password': Buffer.from('p"ß\\ $HOME\n'),
  'db/password@3': Buffer.from('older'),
  encoded: Buffer.from(Buffer.from([0, 1, 255]).toString('base64')),
  binary: Uint8Array.of(0xff, 0),
}

const render = (text: string): Buffer =>
  Buffer.from(
    new Template(text, 'app.tmpl').render(
      ({ name, version }) => VALUES[version === undefined ? name : `${name}@${version}`] ?? Buffer.from('?'),
    ),
  )

describe('a template', () => {
  test('keeps everything else as it is', () => {
    const text = '# {} } {a} {"json": {"deep": 1} }\n\ttäb\r\n'
    expect(render(text).toString()).toBe(text)
  })

  test.each([
    ['{{ secret "db/password" }}', 'p"ß\\ $HOME\n'],
    ['{{secret "db/password@3"}}', 'older'],
    ['<{{ secret "db/password"\n  | trim | json }}>', '<"p\\"ß\\\\ $HOME">'],
    ['{{ secret "db/password" | base64 | b64dec }}', 'p"ß\\ $HOME\n'],
    ['{{ secret "db/password" | trim | url }}', encodeURIComponent('p"ß\\ $HOME')],
    ['{{ "{{" }} {{ "}}" }}', '{{ }}'],
    ['{{ secret "encoded" | b64dec | base64 }}', 'AAH/'],
  ])('%s', (text, rendered) => {
    expect(render(text).toString()).toBe(rendered)
  })

  test('a value that is no text arrives as its bytes', () => {
    expect([...render('<{{ secret "binary" }}>')]).toEqual([0x3c, 0xff, 0, 0x3e])
  })

  test('names each secret once', () => {
    const text = '{{ secret "a" }}{{ secret "b@2" }}{{ secret "a" | json }}{{ secret "a@2" }}'
    expect(new Template(text, '').references).toEqual([
      { name: 'a', version: undefined },
      { name: 'b', version: 2 },
      { name: 'a', version: 2 },
    ])
  })

  test('a word for the shell is what a shell reads back', () => {
    const text = fc
      .string({ unit: 'binary' })
      .filter((value) => !value.includes('\0') && value.isWellFormed())
    const property = fc.property(text, (value) => {
      const word = new Template('{{ secret "a" | shell }}', '').render(() => Buffer.from(value))
      const script = Buffer.concat([Buffer.from('printf %s '), word])
      expect(execFileSync('sh', { input: script }).equals(Buffer.from(value))).toBe(true)
    })
    fc.assert(property, { numRuns: 50, examples: [["it's $HOME `x` \\ \n"]] })
  })
})

describe('a mistake is named by line and column', () => {
  test.each([
    ['a\n  {{ secret "db/password" | upper }}', '2:29', 'after | comes one of trim, json'],
    ['{{ env "HOME" }}', '1:4', 'there is no env'],
    ['{{ }}', '1:4', 'secret "NAME" is missing'],
    ['ß{{ secret db }}', '1:12', 'in double quotes'],
    ['{{ secret "Not A Name" }}', '1:11', 'a secret name is'],
    ['{{ secret "a@0" }}', '1:11', 'a secret name is'],
    ['{{ secret "a" ', '1:15', 'not closed'],
    ['{{ secret "a" "b" }}', '1:15', 'not closed'],
    ['{{ secret "a', '1:11', 'in double quotes'],
    ['x\n\n{{ "a" | json }}', '3:8', 'not closed'],
    ['{{', '1:3', 'is missing'],
  ])('%j', (text, place, why) => {
    expect(() => new Template(text, 'app.tmpl')).toThrow(
      expect.objectContaining({ code: 'E_TEMPLATE', message: expect.stringContaining(why) }),
    )
    expect(() => new Template(text, 'app.tmpl')).toThrow(`app.tmpl:${place}: `)
  })

  test.each(['json', 'shell', 'trim', 'b64dec'])('a value that %s does not take', (filter) => {
    expect(() => render(`\n{{ secret "binary" | ${filter} }}`)).toThrow(
      `app.tmpl:2:1: ${filter} does not take the value of binary`,
    )
  })

  test('a template that is no text', () => {
    expect(() => parseTemplate(Uint8Array.of(0xff), 'app.tmpl')).toThrow('not UTF-8')
  })
})
