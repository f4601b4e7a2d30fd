/** A rendered file is ours before it counts as written, whatever somebody has put in its place. */
import { chownSync, lstatSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { RenderedFile } from '../../agent/secrets/rendered-file.ts'
import { Template } from '../../agent/secrets/template.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const SOMEBODY = 12_345

function renderedAt(path: string): RenderedFile {
  return new RenderedFile({ template: new Template('listen 443\n', 'app.tmpl'), path, mode: 0o640 })
}

test.skipIf(process.getuid?.() !== 0)('another user’s file with the right content is replaced', () => {
  const path = join(temporaryDirectory(), 'app.conf')
  writeFileSync(path, 'listen 443\n', { mode: 0o640 })
  chownSync(path, SOMEBODY, SOMEBODY)
  expect(renderedAt(path).write(new Map())).toBe(true)
  expect(lstatSync(path)).toMatchObject({ uid: 0, gid: 0 })
  expect(renderedAt(path).write(new Map())).toBe(false)
})

test('a link to a file with the right content is replaced, and what it leads to is left alone', () => {
  const directory = temporaryDirectory()
  const [path, elsewhere] = [join(directory, 'app.conf'), join(directory, 'elsewhere')]
  writeFileSync(elsewhere, 'listen 443\n', { mode: 0o640 })
  symlinkSync(elsewhere, path)
  expect(renderedAt(path).write(new Map())).toBe(true)
  expect(lstatSync(path).isFile()).toBe(true)
  writeFileSync(elsewhere, 'changed')
  expect(readFileSync(path, 'utf8')).toBe('listen 443\n')
})
