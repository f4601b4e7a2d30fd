/** A place in memory that somebody else could exchange is no place for secrets: root's, with the environment of a user (`sudo -E`, `su`). */
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { RuntimeDirectory } from '../../agent/secrets/runtime-directory.ts'
import { memoryDirectory } from '../support/memory-directory.ts'

const SOMEBODY = 12_345

function openedIn(runtime: string): boolean {
  const opened = RuntimeDirectory.open({ XDG_RUNTIME_DIR: runtime })
  const there = existsSync(join(runtime, 'clawnode')) && readdirSync(join(runtime, 'clawnode')).length > 0
  opened.remove()
  return there
}

test.skipIf(process.getuid?.() !== 0)('what another user owns is not used, at any depth', () => {
  const theirs = memoryDirectory()
  const within = join(theirs, 'within')
  mkdirSync(within)
  chownSync(theirs, SOMEBODY, SOMEBODY)
  for (const runtime of [theirs, within]) expect([runtime, openedIn(runtime)]).toEqual([runtime, false])
  expect(readdirSync(theirs)).toEqual(['within'])
  expect(readdirSync(within)).toEqual([])
})

test('nor is one where others can rename it, unless the sticky bit keeps them from that', () => {
  const shared = memoryDirectory()
  chmodSync(shared, 0o777)
  expect(openedIn(shared)).toBe(false)
  chmodSync(shared, 0o1777)
  expect(openedIn(shared)).toBe(true)
})

test('a link on the way is followed once: what counts is where it leads', () => {
  const [way, place, shared] = [memoryDirectory(), memoryDirectory(), memoryDirectory()]
  chmodSync(shared, 0o777)
  symlinkSync(place, join(way, 'good'))
  symlinkSync(shared, join(way, 'bad'))
  const opened = RuntimeDirectory.open({ XDG_RUNTIME_DIR: join(way, 'good') })
  expect(opened.path.startsWith(join(place, 'clawnode'))).toBe(true)
  opened.remove()
  expect(openedIn(join(way, 'bad'))).toBe(false)
})

test('what a command has left there, however large it says it is, keeps nothing from being removed', () => {
  const opened = RuntimeDirectory.open({ XDG_RUNTIME_DIR: memoryDirectory() })
  writeFileSync(join(opened.path, 'A'), '')
  truncateSync(join(opened.path, 'A'), 2 ** 43)
  opened.remove()
  expect(existsSync(opened.path)).toBe(false)
})
