import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  createPrivateFile,
  ensurePrivateDirectory,
  readPrivateFile,
  writePrivateFile,
} from '../../host/private-file.ts'

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'claw-private-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

const modeOf = (path: string): number => statSync(path).mode & 0o777

/** In a process of its own: a umask belongs to a process, and this one's workers share theirs. */
function withUmask(umask: string, call: string): void {
  const module = pathToFileURL(join(import.meta.dirname, '../../host/private-file.ts')).href
  const script = `process.umask(0o${umask}); const file = await import(${JSON.stringify(module)}); ${call}`
  execFileSync(process.execPath, ['--input-type=module', '-e', script])
}

describe.each(['000', '022', '077', '777'])('under umask %s', (umask) => {
  test('a written file is 0600', () => {
    const path = join(directory, 'key')
    withUmask(umask, `file.writePrivateFile(${JSON.stringify(path)}, 'x')`)
    expect(modeOf(path)).toBe(0o600)
  })

  test('a created file is 0600', () => {
    const path = join(directory, 'key')
    withUmask(umask, `file.createPrivateFile(${JSON.stringify(path)}, 'x')`)
    expect(modeOf(path)).toBe(0o600)
  })
})

test.each(['000', '022', '077'])(
  'under umask %s a directory is 0700, and so is each made on the way',
  (umask) => {
    const path = join(directory, 'a', 'b')
    withUmask(umask, `file.ensurePrivateDirectory(${JSON.stringify(path)})`)
    expect([modeOf(join(directory, 'a')), modeOf(path)]).toEqual([0o700, 0o700])
  },
)

test('a file that others could read is closed to them when it is replaced', () => {
  const path = join(directory, 'key')
  writeFileSync(path, 'old', { mode: 0o644 })
  writePrivateFile(path, 'new')
  expect([modeOf(path), readFileSync(path, 'utf8')]).toEqual([0o600, 'new'])
})

test('writing through a symlink replaces the link and leaves its target alone', () => {
  const target = join(directory, 'target')
  const path = join(directory, 'link')
  writeFileSync(target, 'untouched')
  symlinkSync(target, path)
  writePrivateFile(path, 'secret')
  expect(lstatSync(path).isSymbolicLink()).toBe(false)
  expect(readFileSync(target, 'utf8')).toBe('untouched')
})

test('creating never overwrites, not even a dangling symlink', () => {
  const path = join(directory, 'key')
  expect(createPrivateFile(path, 'first')).toBe(true)
  expect(createPrivateFile(path, 'second')).toBe(false)
  expect(readFileSync(path, 'utf8')).toBe('first')

  const link = join(directory, 'link')
  symlinkSync(join(directory, 'nowhere'), link)
  expect(createPrivateFile(link, 'x')).toBe(false)
  expect(existsSync(join(directory, 'nowhere'))).toBe(false)
})

test('a failed write leaves nothing behind', () => {
  const occupied = join(directory, 'occupied')
  mkdirSync(join(occupied, 'content'), { recursive: true })
  expect(() => writePrivateFile(occupied, 'x')).toThrow()
  expect(readdirSync(directory)).toEqual(['occupied'])
})

test('content comes back as it was written', () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, index) => index)
  const path = join(directory, 'key')
  writePrivateFile(path, bytes)
  expect(new Uint8Array(readPrivateFile(path) ?? [])).toEqual(bytes)
})

test('an absent file is undefined', () => {
  expect(readPrivateFile(join(directory, 'none'))).toBeUndefined()
})

describe('reading refuses', () => {
  test.each(['640', '604', '660', '610'])('mode %s, and says how to mend it', (mode) => {
    const path = join(directory, 'key')
    writeFileSync(path, 'x')
    chmodSync(path, Number.parseInt(mode, 8))
    expect(() => readPrivateFile(path)).toThrow(
      expect.objectContaining({ code: 'E_FILE_PERMISSIONS', fix: `chmod 600 ${path}` }),
    )
  })

  test('a symlink', () => {
    const path = join(directory, 'link')
    writePrivateFile(join(directory, 'target'), 'x')
    symlinkSync(join(directory, 'target'), path)
    expect(() => readPrivateFile(path)).toThrow(expect.objectContaining({ code: 'E_FILE_PERMISSIONS' }))
  })

  test('a directory and a pipe, without waiting', () => {
    const pipe = join(directory, 'pipe')
    execFileSync('/bin/sh', ['-c', 'mkfifo -m 600 "$0"', pipe])
    expect(() => readPrivateFile(pipe)).toThrow(expect.objectContaining({ code: 'E_FILE_PERMISSIONS' }))
    expect(() => readPrivateFile(directory)).toThrow(expect.objectContaining({ code: 'E_FILE_PERMISSIONS' }))
  })

  test.runIf(process.getuid?.() === 0)('the file of another user', () => {
    const path = join(directory, 'key')
    writePrivateFile(path, 'x')
    execFileSync('chown', ['65534', path])
    expect(() => readPrivateFile(path)).toThrow(expect.objectContaining({ code: 'E_FILE_PERMISSIONS' }))
  })
})

describe('a directory is refused', () => {
  test.each(['750', '705', '755'])('with mode %s, and says how to mend it', (mode) => {
    const path = join(directory, 'open')
    mkdirSync(path)
    chmodSync(path, Number.parseInt(mode, 8))
    expect(() => ensurePrivateDirectory(path)).toThrow(
      expect.objectContaining({ code: 'E_FILE_PERMISSIONS', fix: `chmod 700 ${path}` }),
    )
  })

  test('that is a symlink', () => {
    const path = join(directory, 'link')
    ensurePrivateDirectory(join(directory, 'real'))
    symlinkSync(join(directory, 'real'), path)
    expect(() => ensurePrivateDirectory(path)).toThrow(
      expect.objectContaining({ code: 'E_FILE_PERMISSIONS' }),
    )
  })

  test('not, if it is ours alone', () => {
    const path = join(directory, 'mine')
    ensurePrivateDirectory(path)
    expect(() => ensurePrivateDirectory(path)).not.toThrow()
  })
})
